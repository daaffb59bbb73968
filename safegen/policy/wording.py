"""The validator's findings in words that a policy author can act on.

Invariant: every finding becomes exactly one problem, whose path exists in the author's file or names what is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any, TypeAlias

from pydantic import BaseModel, ValidationError

from safegen.policy.lookups import MOST_PROBLEMS, Path, Problem, did_you_mean
from safegen.policy.model import Policy
from safegen.policy.parts import NO_SUCH_DATE, Concept, Records, Rollout, RuleException, When, Words
from safegen.policy.rules import RULE_KINDS, EraseReview

Finding: TypeAlias = Mapping[str, Any]
_PATTERNS = "use small letters, digits, `-`, `_` and `.`, and begin with a letter or digit"
_KINDS = {
    "string_type": "must be text",
    "tuple_type": "must be a list",
    "model_type": "must be a mapping of fields",
    "model_attributes_type": "must be a mapping of fields",
    "dict_type": "must be a mapping of fields",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "too_short": "must not be empty",
    "string_too_short": "must not be empty",
}
_BELONGS = {
    "reviews": "a refusal draws nothing and an allow rule touches nothing, so there is nothing to review",
}


def shape_problems(data: object) -> Iterator[Problem]:
    """All problems of shape: fields missing, unknown or of the wrong kind.

    What an overlay leaves to the policy that it extends is not missing.
    """
    if isinstance(data, Mapping) and data.get("extends"):
        data = {"base": "inherited", "rules": [], **data}
    findings = _findings(data)
    if isinstance(data, Mapping) and isinstance(data.get("rules"), list):
        guessed = [_with_action(rule) for rule in data["rules"][:MOST_PROBLEMS]]
        if guessed != data["rules"][:MOST_PROBLEMS]:
            findings += [one for one in _findings({**data, "rules": guessed}) if _is_news(one, findings)]
    for finding in findings:
        yield _problem(finding, _path(finding["loc"], data))


def problems_of(model: type[BaseModel], data: object) -> Iterator[Problem]:
    """All problems of shape of data that is to be another model than a policy."""
    for finding in _findings(data, model):
        path = _path(finding["loc"], data)
        if finding["type"] == "extra_forbidden":
            yield Problem(path, f"unknown field `{path[-1]}`", on_key=True, semantic=False)
        else:
            yield _problem(finding, path)


def _findings(data: object, model: type[BaseModel] = Policy, largest: int = MOST_PROBLEMS) -> list[Finding]:
    """What the validator finds; of very many findings, those in the first entries of every list and mapping."""
    try:
        model.model_validate(data, context="checked")
    except ValidationError as error:
        if error.error_count() > MOST_PROBLEMS and largest > 1:
            return _findings(_cut(data, largest), model, largest // 4)
        return [dict(one) for one in error.errors(include_url=False)]
    return []


def _cut(data: object, largest: int) -> object:
    """The data with that many entries of each list and mapping at most."""
    if isinstance(data, Mapping):
        return {name: _cut(value, largest) for name, value in islice(data.items(), largest)}
    if isinstance(data, list):
        return [_cut(value, largest) for value in data[:largest]]
    return data


def _with_action(rule: object) -> object:
    """A rule whose action is no action, as the erase rule that it might be: the rest of it can be checked then."""
    if not isinstance(rule, Mapping) or rule.get("action") in tuple(RULE_KINDS):
        return rule
    return {"reason": "", **rule, "action": "erase"}


def _is_news(finding: Finding, known: list[Finding]) -> bool:
    """Whether a finding of the second look is new and does not rest on the guessed action."""
    if finding in known:
        return False
    return finding["type"] != "extra_forbidden" or finding["loc"][-1] not in _all_rule_fields()


def _all_rule_fields() -> set[str]:
    return {name for kind in RULE_KINDS.values() for name in kind.model_fields}


def _path(location: tuple[str | int, ...], data: object) -> Path:
    """The validator's location without the names of union branches, which no author wrote."""
    path: list[str | int] = []
    here = data
    for at, part in enumerate(location):
        if isinstance(here, Mapping):
            if part not in here and at + 1 < len(location):
                continue
            here = here.get(part)
        elif isinstance(here, list) and isinstance(part, int) and part < len(here):
            here = here[part]
        elif at + 1 == len(location) and isinstance(part, str):
            continue
        path.append(part)
    return tuple(path)


def _problem(finding: Finding, path: Path) -> Problem:
    word: Callable[[Finding, Path], Problem] = _WORDINGS.get(finding["type"], _plain)
    return word(finding, path)


def _field(path: Path) -> str:
    """The field that a path is about: `phrases`, or `phrases[2]` for an entry."""
    named = [at for at, part in enumerate(path) if isinstance(part, str)]
    if not named:
        return "the policy"
    indices = "".join(f"[{part}]" for part in path[named[-1] + 1 :])
    return f"`{path[named[-1]]}{indices}`"


def _plain(finding: Finding, path: Path) -> Problem:
    message = _KINDS.get(
        finding["type"], finding["msg"].replace("Input should", "must").replace("String should", "must")
    )
    value = finding.get("input")
    shown = f", not {_show(value)}" if isinstance(value, str | int | float) and value != "" else ""
    if shown and isinstance(value, str):
        shown = shown.replace("not ", "not the text ", 1)
    return Problem(path, f"{_field(path)} {message}{shown}", semantic=False)


def _missing(_: Finding, path: Path) -> Problem:
    return Problem(path[:-1], f"{_field(path)} is missing", f"add `{path[-1]}: ...`", semantic=False)


def _unknown(finding: Finding, path: Path) -> Problem:
    name = str(path[-1])
    owners = [kind for kind, model in RULE_KINDS.items() if name in _names(model)]
    if owners and len(path) == 3 and path[0] == "rules":  # noqa: PLR2004 - rules, index, field
        message = f"`{name}` belongs to {' and '.join(owners)} rules only"
        return Problem(path, message, _BELONGS.get(name, "remove it, or change `action`"), on_key=True)
    hint = did_you_mean(name, _names(_owner(path, finding["loc"])))
    return Problem(path, f"unknown field `{name}`", hint, on_key=True, semantic=False)


def _owner(path: Path, location: tuple[str | int, ...]) -> type[BaseModel]:
    """The model whose field the last part of a path would have been."""
    if "match" in path[:-1]:
        return Words
    for key, model in _OWNERS:
        if key in path[:-1]:
            return model
    if path[0] == "concepts" and len(path) > 1:
        return Concept
    if path[0] == "rules" and len(path) > 1:
        return next((RULE_KINDS[part] for part in location if part in RULE_KINDS), RULE_KINDS["erase"])
    return Policy


def _names(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def _choice(finding: Finding, path: Path) -> Problem:
    expected = [one.strip().strip("'") for one in finding["ctx"]["expected"].replace(" or ", ", ").split(", ")]
    if path and path[-1] == "match":
        hint = "write `match: any`, or a mapping with concepts, categories or phrases"
        return Problem(path, "`match` must be `any` or a mapping of words", hint, semantic=False)
    return _wrong_choice(path, finding["input"], expected)


def _wrong_action(finding: Finding, path: Path) -> Problem:
    rule = finding["input"]
    return _wrong_choice((*path, "action"), rule.get("action") if isinstance(rule, Mapping) else None, list(RULE_KINDS))


def _no_action(_: Finding, path: Path) -> Problem:
    hint = f"add `action: ...`, one of {', '.join(RULE_KINDS)}"
    return Problem(path, "`action` is missing", hint, semantic=False)


def _wrong_choice(path: Path, value: object, expected: list[str]) -> Problem:
    hint = did_you_mean(value, tuple(expected)) if isinstance(value, str) else ""
    listed = " or ".join(f"`{one}`" for one in expected)
    return Problem(path, f"{_field(path)} must be {listed}, not {_show(value)}", hint, semantic=False)


def _pattern(finding: Finding, path: Path) -> Problem:
    hints = {"expires": "write a day as YYYY-MM-DD", "extends": "write a relative path that ends in `.yaml`"}
    last = next((part for part in reversed(path) if isinstance(part, str)), "")
    hint = hints.get(last, _PATTERNS)
    return Problem(path, f"{_field(path)} cannot be {_show(finding['input'])}", hint, semantic=False)


def _no_such_date(finding: Finding, path: Path) -> Problem:
    hint = "write a day as YYYY-MM-DD, one that is in the calendar"
    return Problem(path, f"{_field(path)}: there is no day {_show(finding['input'])}", hint, semantic=False)


def _show(value: object) -> str:
    if value is None:
        return "empty"
    text = (
        str(value) if isinstance(value, str | int | float) else f"a {'list' if isinstance(value, list) else 'mapping'}"
    )
    return f"`{text[:40]}...`" if len(text) > 40 else f"`{text}`"  # noqa: PLR2004 - as much as a line shows well


_OWNERS: tuple[tuple[str, type[BaseModel]], ...] = (
    ("when", When),
    ("rollout", Rollout),
    ("records", Records),
    ("reviews", EraseReview),
    ("exceptions", RuleException),
)
_WORDINGS: dict[str, Callable[[Finding, Path], Problem]] = {
    "missing": _missing,
    "extra_forbidden": _unknown,
    "literal_error": _choice,
    "union_tag_invalid": _wrong_action,
    "union_tag_not_found": _no_action,
    "string_pattern_mismatch": _pattern,
    NO_SUCH_DATE: _no_such_date,
}
