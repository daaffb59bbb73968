"""The decision: what a policy does with one prompt.

Invariants: pure and total, clock and all; a refuse rule in force overrides everything; an allow rule frees only the
words that it matched, and never from a refuse rule; only an exception lifts one. A prompt that no rule touches gets an
empty bundle and no reviews. The order of rules in a file does not matter.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date

from safegen.policy.conditions import concerns, reached
from safegen.policy.decision import Decision, PromptRequest, RuleMatch, Status, TraceEntry
from safegen.policy.effects import Effects, untouched
from safegen.policy.model import Policy, Trigger
from safegen.policy.normalise import Word
from safegen.policy.parts import Action, RuleException
from safegen.policy.phrases import Reading
from safegen.policy.rules import BaseRule

_FREED_BY_ALLOW = frozenset({"erase", "redact", "review"})
_MOST_REDACTIONS = 4
"""Rounds of redacting; what is left after them is refused rather than redacted for ever."""


@dataclass(frozen=True, slots=True)
class _Found:
    """A trigger at the words `first..last` of the prompt."""

    first: int
    last: int
    trigger: Trigger

    @property
    def positions(self) -> range:
        """Positions of the words."""
        return range(self.first, self.last + 1)


@dataclass(frozen=True, slots=True)
class _Freedom:
    """Words that somebody freed: an allow rule, or an exception (for its rules); positions of None are all words."""

    by: str
    positions: frozenset[int] | None
    rules: frozenset[str] | None


def decide(policy: Policy, request: PromptRequest, *, now: date | None = None) -> Decision:
    """Decide what happens with a request.

    Only the prompt is matched: the negative prompt names what the picture should not show.

    Args:
        policy: the policy in force.
        request: the prompt, and whom it is for.
        now: today in UTC; without it no exception holds.
    """
    reading = policy.triggers.read(request.prompt)
    if not reading.found and not policy.rules_of_every_prompt:
        return untouched(policy, request.prompt, reading.normalised)
    trace = tuple(_trace(policy, request, reading, now))
    effects = Effects(policy, tuple(entry.match for entry in trace if entry.status == "applied"))
    prompt = effects.redacted(request.prompt)
    for _ in range(_MOST_REDACTIONS):
        if prompt == request.prompt or effects.refused:
            break
        again = request.model_copy(update={"prompt": prompt, "subject": request.subject or request.prompt})
        left = Effects(policy, tuple(_applied(policy, again, now)))
        prompt, before = left.redacted(prompt), prompt
        effects = effects.joined(left)
        if prompt == before:
            break
    else:
        effects = effects.refusing_the_rest()
    return effects.decision(normalised=reading.normalised, prompt=prompt, trace=trace)


def _applied(policy: Policy, request: PromptRequest, now: date | None) -> Iterator[RuleMatch]:
    for entry in _trace(policy, request, policy.triggers.read(request.prompt), now):
        if entry.status == "applied":
            yield entry.match


def _trace(policy: Policy, request: PromptRequest, reading: Reading[Trigger], now: date | None) -> Iterator[TraceEntry]:
    """Every match with what becomes of it: those of words in the order of the words, then those of every prompt."""
    found = _longest(_accompanied(policy, [_Found(*place) for place in reading.found]))
    standing = {rule.id: _standing(policy, rule, request) for rule in _rules_of(policy, found)}
    freedoms = [*_allowed(found, standing), *_excepted(policy, request, found, now)]
    for one in found:
        if one.trigger.action is None:
            continue
        match = _match(one, one.trigger.action, reading.words, request.prompt)
        yield _entry(match, frozenset(one.positions), standing[match.rule], freedoms)
    for rule in policy.rules_of_every_prompt:
        match = RuleMatch(rule=rule.id, action=rule.action)
        yield _entry(match, frozenset(), _standing(policy, rule, request), freedoms)


def _rules_of(policy: Policy, found: list[_Found]) -> list[BaseRule]:
    return [policy.rule(owner) for owner in {one.trigger.owner for one in found if one.trigger.action is not None}]


def _standing(policy: Policy, rule: BaseRule, request: PromptRequest) -> Status:
    """What holds for a rule whatever its words: in force, in shadow, or not for this request."""
    if not concerns(rule.when, request, restricts=rule.action != "allow"):
        return "other_request"
    if "shadow" in (policy.mode, rule.mode):
        return "shadow"
    if rule.rollout is not None and not reached(rule.rollout, rule.id, request):
        return "not_rolled_out"
    return "applied"


def _allowed(found: list[_Found], standing: dict[str, Status]) -> Iterator[_Freedom]:
    by_rule: dict[str, set[int]] = {}
    for one in found:
        if one.trigger.action == "allow" and standing[one.trigger.owner] == "applied":
            by_rule.setdefault(one.trigger.owner, set()).update(one.positions)
    if by_rule:
        everywhere = frozenset[int]().union(*by_rule.values())
        for rule in sorted(by_rule):
            yield _Freedom(rule, frozenset(by_rule[rule]), None)
        yield _Freedom(", ".join(sorted(by_rule)), everywhere, None)


def _excepted(policy: Policy, request: PromptRequest, found: list[_Found], now: date | None) -> Iterator[_Freedom]:
    for exception in policy.exceptions:
        if not _holds(exception, request, now):
            continue
        own = [one for one in found if one.trigger.action is None and one.trigger.owner == exception.id]
        positions = None if exception.match == "any" else frozenset(at for one in own for at in one.positions)
        yield _Freedom(exception.id, positions, frozenset(exception.rules))


def _holds(exception: RuleException, request: PromptRequest, now: date | None) -> bool:
    if now is None or now > date.fromisoformat(exception.expires):
        return False
    return concerns(exception.when, request, restricts=False)


def _entry(match: RuleMatch, positions: frozenset[int], standing: Status, freedoms: list[_Freedom]) -> TraceEntry:
    """A match with what becomes of it. Exceptions are named before allow rules, as they lift every kind of rule."""
    if standing in {"other_request", "not_rolled_out"}:
        return TraceEntry(match=match, status=standing)
    for freedom in sorted(freedoms, key=lambda one: one.rules is None):
        covered = freedom.positions is None or (bool(positions) and positions <= freedom.positions)
        if covered and freedom.rules is None and match.action in _FREED_BY_ALLOW:
            return TraceEntry(match=match, status="allowed", because=freedom.by)
        if covered and freedom.rules is not None and match.rule in freedom.rules:
            return TraceEntry(match=match, status="excepted", because=freedom.by)
    return TraceEntry(match=match, status=standing)


def _accompanied(policy: Policy, found: list[_Found]) -> list[_Found]:
    """Without companions, and without the words of those whose companions are missing."""
    if not policy.accompanied:
        return found
    complete = {one.trigger.owner for one in found if one.trigger.companion}
    lonely = policy.accompanied - complete
    return [one for one in found if not one.trigger.companion and one.trigger.owner not in lonely]


def _longest(found: Iterable[_Found]) -> list[_Found]:
    """Of one owner's matches for one concept, drop those that lie inside a longer one."""
    ends: dict[tuple[str, str | None], int] = {}
    kept: list[_Found] = []
    for one in found:
        key = (one.trigger.owner, one.trigger.concept)
        if one.last > ends.get(key, -1):
            ends[key] = one.last
            kept.append(one)
    return kept


def _match(found: _Found, action: Action, words: Sequence[Word], prompt: str) -> RuleMatch:
    places = words[found.first : found.last + 1]
    start, end = min(word.start for word in places), max(word.end for word in places)
    trigger = found.trigger
    return RuleMatch(
        rule=trigger.owner,
        action=action,
        concept=trigger.concept,
        category=trigger.category,
        phrase=trigger.phrase,
        text=prompt[start:end],
        start=start,
        end=end,
    )
