"""What a well-formed policy must still not say: unknown names, duplicates, rules that cannot act.

Invariants: reads plain JSON-like data and skips whatever has the wrong shape, so that it can speak beside the checks of
shape and all problems reach the author at once; never raises.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, TypeAlias

from safegen.policy.normalise import normalise

Path: TypeAlias = tuple[str | int, ...]
Fields: TypeAlias = Mapping[str, Any]
NUDENET_LABELS = (
    "ANUS_COVERED",
    "ANUS_EXPOSED",
    "ARMPITS_COVERED",
    "ARMPITS_EXPOSED",
    "BELLY_COVERED",
    "BELLY_EXPOSED",
    "BUTTOCKS_COVERED",
    "BUTTOCKS_EXPOSED",
    "FACE_FEMALE",
    "FACE_MALE",
    "FEET_COVERED",
    "FEET_EXPOSED",
    "FEMALE_BREAST_COVERED",
    "FEMALE_BREAST_EXPOSED",
    "FEMALE_GENITALIA_COVERED",
    "FEMALE_GENITALIA_EXPOSED",
    "MALE_BREAST_EXPOSED",
    "MALE_GENITALIA_EXPOSED",
)
_LAST_STEPS = ("withhold", "release")
_WORD_KINDS = ("concepts", "categories", "phrases")


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong at a path inside the policy; `on_key` points at the field's name instead of its value."""

    path: Path
    message: str
    hint: str = ""
    on_key: bool = False
    semantic: bool = True


def did_you_mean(word: str, known: Iterator[str] | tuple[str, ...] | list[str]) -> str:
    """A hint that names the closest known word, or lists the known ones if none is close."""
    words = list(dict.fromkeys(known))
    close = get_close_matches(word.casefold(), words, n=1)
    if close:
        return f"did you mean `{close[0]}`?"
    return f"known: {', '.join(words)}" if words else ""


def semantic_problems(data: object) -> Iterator[Problem]:
    """All problems of meaning in a policy."""
    if not isinstance(data, Mapping):
        return
    concepts = [one for _, one in _members(data, "concepts", ())]
    yield from _duplicates(data, "concepts", "name")
    yield from _duplicates(data, "rules", "id")
    for path, concept in _members(data, "concepts", ()):
        yield from _wordless(concept, path)
    for path, rule in _members(data, "rules", ()):
        yield from _match_problems(rule, path, concepts)
        if rule.get("action") == "erase":
            yield from _erase_problems(rule, path, concepts)
        for review_path, review in _members(rule, "reviews", path):
            if rule.get("action") in {"allow", "refuse"}:
                continue
            yield from _ladder_problems(review, review_path, rule)
            yield from _reviewer_problems(review, review_path, rule, concepts)


def _members(data: Fields, key: str, path: Path) -> list[tuple[Path, Fields]]:
    """The entries of a list of mappings, with their paths."""
    values = data.get(key)
    if not isinstance(values, list | tuple):
        return []
    return [((*path, key, at), value) for at, value in enumerate(values) if isinstance(value, Mapping)]


def _strings(data: Fields, key: str, path: Path = ()) -> list[tuple[Path, str]]:
    """The entries of a list of strings, with their paths."""
    values = data.get(key)
    if not isinstance(values, list | tuple):
        return []
    return [((*path, key, at), value) for at, value in enumerate(values) if isinstance(value, str)]


def _names(concepts: list[Fields], key: str) -> list[str]:
    return [one[key] for one in concepts if isinstance(one.get(key), str)]


def _duplicates(data: Fields, key: str, field: str) -> Iterator[Problem]:
    seen: set[str] = set()
    for path, member in _members(data, key, ()):
        name = member.get(field)
        if not isinstance(name, str):
            continue
        if name in seen:
            yield Problem((*path, field), f"`{name}` is already taken by an earlier entry of `{key}`", "rename one")
        seen.add(name)


def _wordless(holder: Fields, path: Path) -> Iterator[Problem]:
    for place, phrase in _strings(holder, "phrases", path):
        if not normalise(phrase):
            yield Problem(place, "an empty phrase matches nothing", "write a word, or remove the entry")


def _match_problems(rule: Fields, path: Path, concepts: list[Fields]) -> Iterator[Problem]:
    match, where = rule.get("match"), (*path, "match")
    if match == "any" and rule.get("action") == "allow":
        yield Problem(where, "an allow rule needs words to allow", "name concepts, categories or phrases")
    if not isinstance(match, Mapping):
        return
    if all(kind not in match or match[kind] in ([], ()) for kind in _WORD_KINDS):
        yield Problem(where, "the rule matches nothing", "name concepts, categories or phrases, or write `match: any`")
    yield from _wordless(match, where)
    yield from _unknown(match, "concepts", where, _names(concepts, "name"), "concept")
    yield from _unknown(match, "categories", where, _names(concepts, "category"), "category")


def _unknown(holder: Fields, key: str, path: Path, known: list[str], kind: str) -> Iterator[Problem]:
    for place, name in _strings(holder, key, path):
        if name not in known:
            hint = did_you_mean(name, known) or "list it under `concepts`"
            yield Problem(place, f"no {kind} of this policy is called `{name}`", hint)


def _named_concepts(rule: Fields, concepts: list[Fields]) -> list[Fields]:
    match = rule.get("match")
    if not isinstance(match, Mapping):
        return []
    names = [name for _, name in _strings(match, "concepts")]
    categories = [name for _, name in _strings(match, "categories")]
    return [one for one in concepts if one.get("name") in names or one.get("category") in categories]


def _erase_problems(rule: Fields, path: Path, concepts: list[Fields]) -> Iterator[Problem]:
    where = (*path, "match")
    match = rule.get("match")
    if match == "any":
        hint = "name the concepts, and write `scope: always` to have them in every bundle"
        yield Problem(where, "an erase rule must say which concepts to erase", hint)
    elif isinstance(match, Mapping) and not match.get("concepts") and not match.get("categories"):
        hint = "name concepts or categories beside the phrases"
        yield Problem(where, "an erase rule must say which concepts to erase", hint)
    for concept in _named_concepts(rule, concepts):
        if concept.get("adapter") is None:
            hint = f"give `{concept.get('name')}` an `adapter`, or make the rule refuse or review"
            yield Problem(where, f"concept `{concept.get('name')}` has no adapter to erase it with", hint)
    yield from _gate_problems(rule, path)


def _gate_problems(rule: Fields, path: Path) -> Iterator[Problem]:
    values = {"strength": 1.0, "floor": 0.0, "ceiling": 4.0, "cutoff": 0.0}
    for key, default in values.items():
        given = rule.get(key, default)
        if not isinstance(given, int | float) or isinstance(given, bool):
            return
        values[key] = given
    if values["floor"] > values["ceiling"]:
        yield Problem((*path, "floor"), "`floor` is above `ceiling`", "lower it")
    if values["ceiling"] == 0:
        yield Problem((*path, "ceiling"), "a `ceiling` of 0 never erases", "raise it, or remove the rule")
    if values["cutoff"] > values["strength"]:
        hint = "lower `cutoff` or raise `strength`"
        yield Problem((*path, "cutoff"), "`cutoff` is above `strength`, so the rule never erases", hint)


def _ladder_problems(review: Fields, path: Path, rule: Fields) -> Iterator[Problem]:
    steps = _strings(review, "ladder", path)
    for at, (place, step) in enumerate(steps):
        if step == "escalate" and rule.get("action") == "review":
            yield Problem(place, "a review rule has no membranes to escalate", "use reseed, withhold or release")
        if step in _LAST_STEPS and at + 1 < len(steps):
            yield Problem(steps[at + 1][0], f"nothing can follow `{step}`", f"end the ladder at `{step}`")
            return
    if steps and steps[-1][1] not in _LAST_STEPS:
        yield Problem(steps[-1][0], "a ladder must end with `withhold` or `release`", "add `withhold`")


def _reviewer_problems(review: Fields, path: Path, rule: Fields, concepts: list[Fields]) -> Iterator[Problem]:
    yield from _unknown(review, "concepts", path, _names(concepts, "name"), "concept")
    reviewer, where = review.get("reviewer"), (*path, "reviewer")
    if reviewer == "open_clip":
        if review.get("labels"):
            hint = "name `concepts` to look for"
            yield Problem((*path, "labels"), "open_clip looks for concepts and has no labels", hint, on_key=True)
        if not review.get("concepts") and not _named_concepts(rule, concepts):
            yield Problem(where, "open_clip is not told what to look for", "add `concepts` to the review")
    if reviewer == "nudenet":
        if review.get("concepts"):
            hint = "name `labels` of the detector"
            yield Problem((*path, "concepts"), "nudenet looks for labels, not for concepts", hint, on_key=True)
        for place, label in _strings(review, "labels", path):
            if label not in NUDENET_LABELS:
                close = get_close_matches(label.upper(), NUDENET_LABELS, n=1)
                hint = f"did you mean `{close[0]}`?" if close else f"known: {', '.join(NUDENET_LABELS)}"
                yield Problem(place, f"nudenet has no label `{label}`", hint)
