"""What another version of a policy changes: in its text, and for prompts that were asked before.

Invariant: pure; two policies of equal digest differ in nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Literal

from safegen.policy.decide import decide
from safegen.policy.decision import Decision, PromptRequest
from safegen.policy.model import Policy

_NAMES = {"concepts": "name", "rules": "id", "exceptions": "id"}
_MOST_EXAMPLES = 5


@dataclass(frozen=True, slots=True)
class Change:
    """One difference: what of (`rule`, `concept`, `exception`, `policy`), its name, its field, and both values."""

    kind: Literal["added", "removed", "changed"]
    part: str
    name: str
    field: str = ""
    old: Any = None
    new: Any = None


def differences(old: Policy, new: Policy) -> tuple[Change, ...]:
    """All differences between two policies, those of the policy itself first, then by part and name."""
    before, after = (policy.model_dump(mode="json", by_alias=True) for policy in (old, new))
    changes = list(_fields("policy", new.id, _without(before, *_NAMES), _without(after, *_NAMES)))
    for part, key in _NAMES.items():
        one, other = ({entry[key]: entry for entry in data[part]} for data in (before, after))
        singular = part.removesuffix("s")
        for name in sorted(one.keys() | other.keys()):
            if name not in other:
                changes.append(Change("removed", singular, name, old=one[name]))
            elif name not in one:
                changes.append(Change("added", singular, name, new=other[name]))
            else:
                changes += _fields(singular, name, one[name], other[name])
    return tuple(changes)


def _without(data: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in data.items() if name not in names}


def _fields(part: str, name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    for key in dict.fromkeys((*old, *new)):
        if old.get(key) != new.get(key):
            yield Change("changed", part, name, key, old.get(key), new.get(key))


@dataclass(slots=True)
class RuleShift:
    """What one rule newly does, or no longer does, to prompts that were asked before."""

    rule: str
    started: int = 0
    stopped: int = 0
    examples: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Backtest:
    """What a new policy would have changed.

    Attributes:
        prompts: how many were asked.
        changed: how many are decided otherwise.
        outcomes: number of prompts for each pair of old and new action that differ.
        rules: the shift of each rule, those with the greatest first.
        in_shadow: prompts that a rule in shadow would touch under the new policy, by rule.
    """

    prompts: int = 0
    changed: int = 0
    outcomes: dict[tuple[str, str], int] = field(default_factory=dict)
    rules: list[RuleShift] = field(default_factory=list)
    in_shadow: dict[str, int] = field(default_factory=dict)


def backtest(old: Policy, new: Policy, requests: Iterable[PromptRequest], *, now: date) -> Backtest:
    """Decide requests under both policies and count what changes, rule by rule."""
    result = Backtest()
    shifts: dict[str, RuleShift] = {}
    for request in requests:
        before, after = decide(old, request, now=now), decide(new, request, now=now)
        result.prompts += 1
        for rule in _shadow(after):
            result.in_shadow[rule] = result.in_shadow.get(rule, 0) + 1
        if _essence(before) == _essence(after):
            continue
        result.changed += 1
        if before.action != after.action:
            pair = (before.action, after.action)
            result.outcomes[pair] = result.outcomes.get(pair, 0) + 1
        _count(shifts, before, after, request.prompt)
    result.rules = sorted(shifts.values(), key=lambda one: (-one.started - one.stopped, one.rule))
    return result


def _essence(decision: Decision) -> object:
    """A decision without what differs between versions that decide the same."""
    return (decision.action, decision.prompt, decision.bundle, decision.reviews, _applied(decision))


def _applied(decision: Decision) -> frozenset[str]:
    return frozenset(match.rule for match in decision.matches)


def _shadow(decision: Decision) -> set[str]:
    return {entry.match.rule for entry in decision.trace if entry.status == "shadow"}


def _count(shifts: dict[str, RuleShift], before: Decision, after: Decision, prompt: str) -> None:
    started, stopped = _applied(after) - _applied(before), _applied(before) - _applied(after)
    for rule in sorted(started | stopped) or sorted(_applied(after)):
        shift = shifts.setdefault(rule, RuleShift(rule))
        shift.started += rule in started
        shift.stopped += rule in stopped
        if len(shift.examples) < _MOST_EXAMPLES and prompt not in shift.examples:
            shift.examples.append(prompt)
