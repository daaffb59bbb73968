"""What a well-formed policy must still not say: unknown names, duplicates, rules that cannot act.

Invariants: reads plain JSON-like data and skips whatever has the wrong shape, so that it can speak beside the checks of
shape and all problems reach the author at once; never raises.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches

from safegen.policy.lookups import (
    Concepts,
    Fields,
    Path,
    Problem,
    did_you_mean,
    members,
    names_nothing,
    strings,
    wordless,
)

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
MOST_WORDS = 2_000_000
"""Words of all rules together, those of a concept counted as often as rules name it."""
_LAST_STEPS = ("withhold", "release")


def semantic_problems(data: object) -> Iterator[Problem]:
    """All problems of meaning in a policy."""
    if not isinstance(data, Mapping):
        return
    concepts = Concepts(data)
    yield from _duplicates(data, "concepts", "name")
    yield from _duplicates(data, "rules", "id")
    yield from _duplicates(data, "exceptions", "id")
    for path, concept in members(data, "concepts", ()):
        yield from wordless(concept, path)
        aliases = concept.get("aliases")
        if isinstance(aliases, Mapping):
            for language in aliases:
                yield from wordless(aliases, (*path, "aliases"), language)
    for path, rule in members(data, "rules", ()):
        yield from _match_problems(rule, path, concepts)
        yield from _action_problems(rule, path, concepts)
    yield from _exception_problems(data, concepts)
    yield from _size_problems(data, concepts)


def _size_problems(data: Fields, concepts: Concepts) -> Iterator[Problem]:
    """Rules that name the same words over and over, until no machine could hold them."""
    words = 0
    for path, rule in members(data, "rules", ()):
        words += concepts.words_of(rule.get("match"))
        if words > MOST_WORDS:
            message = f"the rules up to this one look for more than {MOST_WORDS:,} words in all"
            yield Problem((*path, "match"), message, "name fewer categories in each rule")
            return


def _action_problems(rule: Fields, path: Path, concepts: Concepts) -> Iterator[Problem]:
    action = rule.get("action")
    if action == "erase":
        yield from _erase_problems(rule, path, concepts)
    if action in {"allow", "refuse", "redact"}:
        return
    for review_path, review in members(rule, "reviews", path):
        yield from _ladder_problems(review, review_path, rule)
        yield from _reviewer_problems(review, review_path, rule, concepts)


def _duplicates(data: Fields, key: str, field: str) -> Iterator[Problem]:
    seen: set[str] = set()
    for path, member in members(data, key, ()):
        name = member.get(field)
        if not isinstance(name, str):
            continue
        if name in seen:
            yield Problem((*path, field), f"`{name}` is already taken by an earlier entry of `{key}`", "rename one")
        seen.add(name)


def _match_problems(rule: Fields, path: Path, concepts: Concepts) -> Iterator[Problem]:
    match, where = rule.get("match"), (*path, "match")
    action = rule.get("action")
    if match == "any" and action in {"allow", "redact"}:
        article = "an" if action == "allow" else "a"
        hint = "name concepts, categories or phrases"
        yield Problem(where, f"{article} {action} rule needs words to {action}", hint)
    if not isinstance(match, Mapping):
        return
    if names_nothing(match):
        yield Problem(where, "the rule matches nothing", "name concepts, categories or phrases, or write `match: any`")
    yield from _words_problems(match, where, concepts)


def _words_problems(match: Fields, where: Path, concepts: Concepts) -> Iterator[Problem]:
    yield from wordless(match, where)
    yield from _unknown(match, "concepts", where, concepts.names, "concept")
    yield from _unknown(match, "categories", where, concepts.categories, "category")
    companions = match.get("alongside")
    if isinstance(companions, Mapping):
        if names_nothing(companions):
            hint = "name concepts, categories or phrases, or remove it"
            yield Problem((*where, "alongside"), "nothing can stand alongside nothing", hint)
        yield from _words_problems(companions, (*where, "alongside"), concepts)


def _unknown(holder: Fields, key: str, path: Path, known: Mapping[str, object], kind: str) -> Iterator[Problem]:
    for place, name in strings(holder, key, path):
        if name not in known:
            hint = did_you_mean(name, known) or "list it under `concepts`"
            yield Problem(place, f"no {kind} of this policy is called `{name}`", hint)


def _exception_problems(data: Fields, concepts: Concepts) -> Iterator[Problem]:
    rules = {rule["id"]: rule for _, rule in members(data, "rules", ()) if isinstance(rule.get("id"), str)}
    for path, exception in members(data, "exceptions", ()):
        own = exception.get("id")
        if isinstance(own, str) and own in rules:
            yield Problem((*path, "id"), f"`{own}` is already the id of a rule", "rename one")
        for place, name in strings(exception, "rules", path):
            if name not in rules:
                yield Problem(place, f"no rule of this policy is called `{name}`", did_you_mean(name, rules))
            elif rules[name].get("absolute") is True:
                hint = "remove it; an absolute rule takes none"
                yield Problem(place, f"rule `{name}` is absolute and takes no exceptions", hint)
        match, where = exception.get("match", "any"), (*path, "match")
        if isinstance(match, Mapping):
            yield from _words_problems(match, where, concepts)
        when = exception.get("when")
        narrow = isinstance(when, Mapping) and any(when.values())
        if not narrow and (match == "any" or (isinstance(match, Mapping) and names_nothing(match))):
            hint = "name words under `match`, or requests under `when`"
            yield Problem(path, "the exception would lift its rules for everything", hint)


def _erase_problems(rule: Fields, path: Path, concepts: Concepts) -> Iterator[Problem]:
    where = (*path, "match")
    match = rule.get("match")
    if match == "any":
        hint = "name the concepts, and write `scope: always` to have them in every bundle"
        yield Problem(where, "an erase rule must say which concepts to erase", hint)
    elif isinstance(match, Mapping) and not match.get("concepts") and not match.get("categories"):
        hint = "name concepts or categories beside the phrases"
        yield Problem(where, "an erase rule must say which concepts to erase", hint)
    for concept in concepts.without_adapter(rule):
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
    steps = strings(review, "ladder", path)
    for at, (place, step) in enumerate(steps):
        if step == "escalate" and rule.get("action") == "review":
            yield Problem(place, "a review rule has no membranes to escalate", "use reseed, withhold or release")
        if step in _LAST_STEPS and at + 1 < len(steps):
            yield Problem(steps[at + 1][0], f"nothing can follow `{step}`", f"end the ladder at `{step}`")
            return
    if steps and steps[-1][1] not in _LAST_STEPS:
        yield Problem(steps[-1][0], "a ladder must end with `withhold` or `release`", "add `withhold`")


def _reviewer_problems(review: Fields, path: Path, rule: Fields, concepts: Concepts) -> Iterator[Problem]:
    yield from _unknown(review, "concepts", path, concepts.names, "concept")
    reviewer, where = review.get("reviewer"), (*path, "reviewer")
    if reviewer == "open_clip":
        if review.get("labels"):
            hint = "name `concepts` to look for"
            yield Problem((*path, "labels"), "open_clip looks for concepts and has no labels", hint, on_key=True)
        if not review.get("concepts") and not concepts.names_any(rule):
            yield Problem(where, "open_clip is not told what to look for", "add `concepts` to the review")
    if reviewer == "nudenet":
        if review.get("concepts"):
            hint = "name `labels` of the detector"
            yield Problem((*path, "concepts"), "nudenet looks for labels, not for concepts", hint, on_key=True)
        for place, label in strings(review, "labels", path):
            if label not in NUDENET_LABELS:
                close = get_close_matches(label.upper(), NUDENET_LABELS, n=1)
                hint = f"did you mean `{close[0]}`?" if close else f"known: {', '.join(NUDENET_LABELS)}"
                yield Problem(place, f"nudenet has no label `{label}`", hint)
