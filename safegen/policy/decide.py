"""The decision: what a policy does with one prompt.

Invariants: pure and total; a matching refuse rule overrides everything; an allow rule frees only the words that it
matched, and never from a refuse rule; a prompt that no rule touches gets an empty bundle and no reviews.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from safegen.policy.decision import (
    OTHER_CATEGORY,
    BundleItem,
    Decision,
    Outcome,
    PolicyRef,
    PromptRequest,
    Refusal,
    ReviewOrder,
    RuleMatch,
)
from safegen.policy.model import BaseRule, Concept, EraseRule, Policy, RefuseRule, Review, ReviewRule, Trigger
from safegen.policy.normalise import Word, join, normalise

_FREED_BY_ALLOW = frozenset({"erase", "review"})


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


def decide(policy: Policy, request: PromptRequest) -> Decision:
    """Decide what happens with a request.

    Only the prompt is matched: the negative prompt names what the picture should not show.
    """
    words = normalise(request.prompt)
    found = _longest(_not_freed([_Found(*place) for place in policy.triggers.find(words)]))
    matches = tuple(_match(one, words, request.prompt) for one in found) + _matches_of_every_prompt(policy)
    refusal = _refusal(policy, matches)
    bundle = _bundle(policy, matches) if refusal is None else ()
    reviews = tuple(_reviews(policy, matches)) if refusal is None else ()
    return Decision(
        action=_action(refusal, bundle, reviews),
        normalised=join(words),
        matches=matches,
        bundle=bundle,
        reviews=reviews,
        refusal=refusal,
        policy=PolicyRef(id=policy.id, version=policy.version, digest=policy.digest),
    )


def _action(refusal: Refusal | None, bundle: tuple[BundleItem, ...], reviews: tuple[ReviewOrder, ...]) -> Outcome:
    if refusal is not None:
        return "refuse"
    if bundle:
        return "erase"
    return "review" if reviews else "allow"


def _not_freed(found: list[_Found]) -> list[_Found]:
    """Drop what erase and review rules found wholly inside words that an allow rule took away."""
    freed = {at for one in found if one.trigger.action == "allow" for at in one.positions}
    return [one for one in found if one.trigger.action not in _FREED_BY_ALLOW or not freed.issuperset(one.positions)]


def _longest(found: list[_Found]) -> list[_Found]:
    """Of one rule's matches for one concept, drop those that lie inside a longer one."""
    ends: dict[tuple[str, str | None], int] = {}
    kept: list[_Found] = []
    for one in found:
        key = (one.trigger.rule, one.trigger.concept)
        if one.last > ends.get(key, -1):
            ends[key] = one.last
            kept.append(one)
    return kept


def _match(found: _Found, words: tuple[Word, ...], prompt: str) -> RuleMatch:
    start, end = words[found.first].start, words[found.last].end
    trigger = found.trigger
    return RuleMatch(
        rule=trigger.rule,
        action=trigger.action,
        concept=trigger.concept,
        category=trigger.category,
        phrase=trigger.phrase,
        text=prompt[start:end],
        start=start,
        end=end,
    )


def _matches_of_every_prompt(policy: Policy) -> tuple[RuleMatch, ...]:
    return tuple(RuleMatch(rule=rule.id, action=rule.action) for rule in policy.rules if rule.match == "any")


def _refusal(policy: Policy, matches: tuple[RuleMatch, ...]) -> Refusal | None:
    """The refusal by the first refuse rule of the policy that applies, with its first match."""
    for rule in policy.rules:
        if not isinstance(rule, RefuseRule):
            continue
        for match in matches:
            if match.rule == rule.id:
                category = match.category or OTHER_CATEGORY
                return Refusal(rule=rule.id, reason=rule.reason, category=category, text=match.text)
    return None


def _bundle(policy: Policy, matches: tuple[RuleMatch, ...]) -> tuple[BundleItem, ...]:
    """One SPM for each concept to erase, in the policy's order; where rules compete, the strongest."""
    strongest: dict[str, EraseRule] = {}
    for rule in policy.rules:
        if isinstance(rule, EraseRule):
            for name in _erased(policy, rule, matches):
                if name not in strongest or _force(rule) > _force(strongest[name]):
                    strongest[name] = rule
    return tuple(
        _item(concept, concept.adapter, strongest[concept.name])
        for concept in policy.concepts
        if concept.name in strongest and concept.adapter is not None
    )


def _erased(policy: Policy, rule: EraseRule, matches: tuple[RuleMatch, ...]) -> set[str]:
    """Names of the concepts that a rule erases here: all of them if it always acts or a plain phrase matched."""
    own = [match for match in matches if match.rule == rule.id]
    if rule.scope == "always" or any(match.concept is None for match in own):
        return {concept.name for concept in policy.concepts_of(rule)}
    return {match.concept for match in own if match.concept is not None}


def _force(rule: EraseRule) -> tuple[float, bool, float, float]:
    """What makes one rule stronger than another: greatest permeability, an open gate, the floor, a low cut-off."""
    return (min(rule.strength, rule.ceiling), rule.transport == "open", rule.floor, -rule.cutoff)


def _item(concept: Concept, adapter: str, rule: EraseRule) -> BundleItem:
    return BundleItem(
        rule=rule.id,
        concept=concept.name,
        adapter=adapter,
        phrases=concept.phrases,
        strength=rule.strength,
        transport=rule.transport,
        floor=rule.floor,
        ceiling=rule.ceiling,
        cutoff=rule.cutoff,
    )


def _reviews(policy: Policy, matches: tuple[RuleMatch, ...]) -> Iterator[ReviewOrder]:
    applying = {match.rule for match in matches}
    for rule in policy.rules:
        if not isinstance(rule, EraseRule | ReviewRule):
            continue
        if rule.id in applying or (isinstance(rule, EraseRule) and rule.scope == "always"):
            yield from (_order(policy, rule, review) for review in rule.reviews)


def _order(policy: Policy, rule: BaseRule, review: Review) -> ReviewOrder:
    """A review with its concepts: those it names, else all of its rule's."""
    named = review.concepts or tuple(concept.name for concept in policy.concepts_of(rule))
    concepts = [concept for concept in policy.concepts if concept.name in named]
    return ReviewOrder(
        rule=rule.id,
        reviewer=review.reviewer,
        concepts=tuple(concept.name for concept in concepts),
        targets=tuple(concept.phrases[0] for concept in concepts),
        labels=review.labels,
        threshold=review.threshold,
        ladder=review.ladder,
        on_failure=review.on_failure,
    )
