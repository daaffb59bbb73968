"""From the rules that apply to what happens: refusal, bundle, reviews, and the prompt to draw.

Invariants: a refusal empties bundle and reviews; each concept joins the bundle once; the order of matches and rules
does not change the outcome.
"""

from __future__ import annotations

from collections.abc import Iterator

from safegen.policy.decision import (
    OTHER_CATEGORY,
    BundleItem,
    Decision,
    Outcome,
    PolicyRef,
    Refusal,
    ReviewOrder,
    RuleMatch,
    TraceEntry,
)
from safegen.policy.model import Policy
from safegen.policy.parts import Concept
from safegen.policy.rules import BaseRule, EraseRule, RedactRule, RefuseRule, Review, ReviewRule

NOTHING_LEFT = "Nothing of the prompt is left once the words that may not be used are taken out."


class Effects:
    """What follows from the matches that apply."""

    def __init__(self, policy: Policy, matches: tuple[RuleMatch, ...], later: tuple[RuleMatch, ...] = ()) -> None:
        self._policy, self._matches, self._later = policy, matches, later
        self._applying = {match.rule: policy.rule(match.rule) for match in (*matches, *later)}
        self._refusal = _refusal(self._applying, (*matches, *later))
        self._redacts = any(match.action == "redact" for match in matches)

    @property
    def refused(self) -> bool:
        """Whether nothing will be drawn."""
        return self._refusal is not None

    def joined(self, left: Effects) -> Effects:
        """These effects, and those of what redacting left of the prompt; their words are no spans of the original."""
        moved = tuple(
            match.model_copy(update={"text": "", "start": 0, "end": 0})
            for match in left._matches
            if (match.rule, match.concept) not in {(one.rule, one.concept) for one in self._matches}
        )
        both = Effects(self._policy, self._matches, (*self._later, *moved))
        if both._refusal is None and left._refusal is not None:
            both._refusal = left._refusal.model_copy(update={"text": ""})
        return both

    def refusing_the_rest(self) -> Effects:
        """These effects, but refused, as redacting comes to no end."""
        self._refuse_by_redaction()
        return self

    def redacted(self, prompt: str) -> str:
        """The prompt with the words of redact rules replaced; of overlapping words, all go."""
        spans = sorted(
            (match.start, match.end, rule.replacement)
            for match in self._matches
            if isinstance(rule := self._applying[match.rule], RedactRule)
        )
        parts, at = [], 0
        for start, end, replacement in spans:
            if start >= at:
                parts += [prompt[at:start], replacement]
            at = max(at, end)
        redacted = "".join([*parts, prompt[at:]])
        if spans and not any(one.isalnum() for one in redacted):
            self._refuse_by_redaction()
        return redacted

    def _refuse_by_redaction(self) -> None:
        if self._refusal is None:
            match = min((one for one in self._matches if one.action == "redact"), key=lambda one: one.rule)
            reason = self._applying[match.rule].reason or NOTHING_LEFT
            category = match.category or OTHER_CATEGORY
            self._refusal = Refusal(rule=match.rule, reason=reason, category=category, text=match.text)

    def decision(self, *, normalised: str, prompt: str, trace: tuple[TraceEntry, ...]) -> Decision:
        """All of it as a value."""
        policy, refusal = self._policy, self._refusal
        bundle = self._bundle() if refusal is None else ()
        reviews = tuple(self._reviews()) if refusal is None else ()
        return Decision(
            action=self._action(bundle, reviews),
            normalised=normalised,
            prompt=prompt,
            matches=self._matches,
            bundle=bundle,
            reviews=reviews,
            refusal=refusal,
            trace=trace,
            policy=_reference(policy),
        )

    def _action(self, bundle: tuple[BundleItem, ...], reviews: tuple[ReviewOrder, ...]) -> Outcome:
        if self._refusal is not None:
            return "refuse"
        if bundle:
            return "erase"
        if self._redacts:
            return "redact"
        return "review" if reviews else "allow"

    def _bundle(self) -> tuple[BundleItem, ...]:
        """One SPM for each concept to erase, by name; where rules compete, the strongest."""
        strongest: dict[str, EraseRule] = {}
        matched: dict[str, str] = {}
        for rule in self._in_force():
            if isinstance(rule, EraseRule):
                for name, phrase in self._erased(rule).items():
                    matched[name] = matched.get(name) or phrase
                    if name not in strongest or _force(rule) > _force(strongest[name]):
                        strongest[name] = rule
        return tuple(
            _item(concept, concept.adapter, strongest[concept.name], matched[concept.name])
            for concept in self._policy.concepts
            if concept.name in strongest and concept.adapter is not None
        )

    def _in_force(self) -> list[BaseRule]:
        return sorted(self._applying.values(), key=lambda rule: rule.id)

    def _erased(self, rule: EraseRule) -> dict[str, str]:
        """Concepts that a rule erases here with the phrase that found each; a plain phrase finds all of the rule's."""
        own = [match for match in (*self._matches, *self._later) if match.rule == rule.id]
        found: dict[str, str] = {match.concept: match.phrase for match in reversed(own) if match.concept is not None}
        plain = next((match.phrase for match in own if match.concept is None), None)
        if rule.scope == "always" or plain is not None:
            return {concept.name: found.get(concept.name, plain or "") for concept in self._policy.concepts_of(rule)}
        return found

    def _reviews(self) -> Iterator[ReviewOrder]:
        for rule in self._in_force():
            if isinstance(rule, EraseRule | ReviewRule):
                yield from (_order(self._policy, rule, review) for review in rule.reviews)


def untouched(policy: Policy, prompt: str, normalised: str) -> Decision:
    """The decision for a prompt that no rule touches."""
    return Decision(action="allow", normalised=normalised, prompt=prompt, policy=_reference(policy))


def _reference(policy: Policy) -> PolicyRef:
    return PolicyRef(id=policy.id, version=policy.version, digest=policy.digest)


def _refusal(applying: dict[str, BaseRule], matches: tuple[RuleMatch, ...]) -> Refusal | None:
    """The refusal by the refuse rule of the smallest id that applies, with its first match."""
    refusing = {name: rule for name, rule in applying.items() if isinstance(rule, RefuseRule)}
    if not refusing:
        return None
    name = min(refusing)
    match = next(one for one in matches if one.rule == name)
    category = match.category or OTHER_CATEGORY
    return Refusal(rule=name, reason=refusing[name].reason, category=category, text=match.text)


def _force(rule: EraseRule) -> tuple[float, bool, float, float]:
    """What makes one rule stronger than another: greatest permeability, an open gate, the floor, a low cut-off."""
    return (min(rule.strength, rule.ceiling), rule.transport == "open", rule.floor, -rule.cutoff)


def _item(concept: Concept, adapter: str, rule: EraseRule, matched: str) -> BundleItem:
    return BundleItem(
        rule=rule.id,
        concept=concept.name,
        adapter=adapter,
        phrases=concept.phrases,
        matched=matched,
        strength=rule.strength,
        transport=rule.transport,
        floor=rule.floor,
        ceiling=rule.ceiling,
        cutoff=rule.cutoff,
    )


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
