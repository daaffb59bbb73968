"""What a policy says that is better known before it is deployed: dead rules, conflicts, gaps, what has run out.

Invariants: pure; each finding has a stable code; what reaches a rule is found by deciding about its own words, so that
analysis and decision cannot disagree.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import date
from typing import Literal

from safegen.policy.decide import decide
from safegen.policy.decision import Decision, PromptRequest
from safegen.policy.model import Policy
from safegen.policy.parts import Words
from safegen.policy.phrases import PhraseIndex
from safegen.policy.rules import AllowRule, BaseRule, EraseRule, RefuseRule, Review, ReviewRule

LEAST_NUDENET_SCORE = 0.2
"""NudeNet's detector drops every box that it is less sure of."""
_SOON = 30

HINTS = {
    "shadowed-rule": "remove the rule, or narrow the one that refuses",
    "dead-rule": "remove the rule, or narrow the one that allows",
    "conflict": "say it in one rule, or give the rules different words",
    "unreachable-threshold": "choose a threshold between 0.2 and 1",
    "category-without-reviewer": "add `reviews` to a rule for it, or refuse it",
    "expired-exception": "remove it, or have its owner renew it",
    "expiring-exception": "ask its owner whether it is to go on",
    "contained-phrase": "fine if it is meant; else use a longer phrase, or allow the words that are harmless",
    "rollout-at-zero": "raise `percent`, or write `mode: shadow`",
    "absent-adapter": "train or import it, or make the rule refuse",
    "crosstalk": "measure the two together before you ship them: `safegen spm evaluate`",
}
"""What to do about each kind of finding."""

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing worth knowing; `subject` is the rule, concept, category or exception that it is about."""

    code: str
    severity: Severity
    subject: str
    message: str

    @property
    def hint(self) -> str:
        """What to do about it."""
        return HINTS[self.code]


def analyse(policy: Policy, *, now: date, adapters: Collection[str] | None = None) -> tuple[Finding, ...]:
    """All findings about a policy.

    Args:
        policy: the policy.
        now: today, for exceptions that have run out.
        adapters: ids of the adapters that exist for the policy's base; not looked at if None.
    """
    findings = [*_reach(policy, now), *_erase_conflicts(policy), *_thresholds(policy), *_unreviewed(policy)]
    findings += [*_exceptions(policy, now), *_contained(policy), *_rollouts(policy)]
    if adapters is not None:
        findings += _absent(policy, adapters)
    order = {"error": 0, "warning": 1, "note": 2}
    return tuple(sorted(findings, key=lambda one: (order[one.severity], one.code, one.subject)))


def _words_of(policy: Policy, rule: BaseRule) -> list[str]:
    own = rule.match.phrases if isinstance(rule.match, Words) else ()
    return [*(word for concept in policy.concepts_of(rule) for word in concept.words), *own]


def _company(policy: Policy, rule: BaseRule) -> str:
    """One of the words that must stand alongside the rule's own, to be put behind them; empty if none must."""
    companions = rule.match.alongside if isinstance(rule.match, Words) else None
    if companions is None:
        return ""
    words = [*(word for concept in policy.concepts_in(companions) for word in concept.words), *companions.phrases]
    return f", {words[0]}"


def _enforced(policy: Policy) -> Policy:
    """The policy with every rule in force for everybody, so that only words decide what reaches a rule."""
    rules = [{**rule.model_dump(), "mode": "enforce", "when": {}, "rollout": None} for rule in policy.rules]
    return policy.model_copy(update={"rules": rules, "mode": "enforce", "exceptions": ()})


def _reach(policy: Policy, now: date) -> Iterator[Finding]:
    """Rules that none of their own words make act."""
    enforced = _enforced(policy)
    for rule in policy.rules:
        words = _words_of(policy, rule)
        if rule.match == "any" or not words:
            continue
        company = _company(policy, rule)
        decisions = [decide(enforced, PromptRequest(prompt=f"{word}{company}"), now=now) for word in words]
        refusals = [one.refusal.rule for one in decisions if one.refusal is not None and one.refusal.rule != rule.id]
        if len(refusals) == len(words) and not isinstance(rule, RefuseRule):
            message = f"every word of it is refused by {_listed(refusals)}, so it never acts"
            yield Finding("shadowed-rule", "warning", rule.id, message)
        elif not any(_acts(rule, one) for one in decisions):
            by = [entry.because for one in decisions for entry in one.trace if entry.match.rule == rule.id]
            yield Finding("dead-rule", "warning", rule.id, f"every word of it is allowed by {_listed(by)}")
        elif refusals and isinstance(rule, AllowRule):
            refused = [word for word, one in zip(words, decisions, strict=True) if one.refusal is not None]
            message = f"{_listed(refused)} cannot be allowed, as {_listed(refusals)} refuses"
            yield Finding("conflict", "warning", rule.id, message)


def _acts(rule: BaseRule, decision: Decision) -> bool:
    return any(match.rule == rule.id for match in decision.matches)


def _listed(names: Collection[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(set(names))[:5])


def _erase_conflicts(policy: Policy) -> Iterator[Finding]:
    erasing: dict[str, list[EraseRule]] = {}
    for rule in policy.rules:
        if isinstance(rule, EraseRule):
            for concept in policy.concepts_of(rule):
                erasing.setdefault(concept.name, []).append(rule)
    for name, rules in erasing.items():
        gates = {(one.strength, one.transport, one.floor, one.ceiling, one.cutoff) for one in rules}
        if len(gates) > 1:
            named = _listed([one.id for one in rules])
            yield Finding("conflict", "note", name, f"erased with different gates by {named}; the strongest wins")


def _reviews(policy: Policy) -> Iterator[tuple[BaseRule, Review]]:
    for rule in policy.rules:
        if isinstance(rule, EraseRule | ReviewRule):
            yield from ((rule, review) for review in rule.reviews)


def _thresholds(policy: Policy) -> Iterator[Finding]:
    for rule, review in _reviews(policy):
        if review.reviewer == "nudenet" and review.threshold < LEAST_NUDENET_SCORE:
            message = f"threshold {review.threshold:g} acts like {LEAST_NUDENET_SCORE:g}: nudenet reports nothing below"
            yield Finding("unreachable-threshold", "warning", rule.id, message)
        if review.threshold >= 1:
            message = f"no score of {review.reviewer} reaches a threshold of 1"
            yield Finding("unreachable-threshold", "warning", rule.id, message)
        if review.threshold == 0:
            message = f"a threshold of 0 finds something in every picture ({review.reviewer})"
            yield Finding("unreachable-threshold", "warning", rule.id, message)


def _unreviewed(policy: Policy) -> Iterator[Finding]:
    """Categories that are drawn, erased or not, and that nobody looks for afterwards."""
    looked_for: set[str] = set()
    refused: set[str] = set()
    named: set[str] = set()
    for rule in policy.rules:
        concepts = {concept.name for concept in policy.concepts_of(rule)}
        named |= concepts
        if isinstance(rule, RefuseRule):
            refused |= concepts
        if isinstance(rule, EraseRule | ReviewRule):
            for review in rule.reviews:
                looked_for |= set(review.concepts) or concepts
    for category in sorted({concept.category for concept in policy.concepts}):
        members = [
            concept.name for concept in policy.concepts if concept.category == category and concept.name in named
        ]
        if members and not looked_for.intersection(members) and not refused.issuperset(members):
            message = "no reviewer looks for it in the finished picture"
            yield Finding("category-without-reviewer", "warning", category, message)


def _exceptions(policy: Policy, now: date) -> Iterator[Finding]:
    for exception in policy.exceptions:
        left = (date.fromisoformat(exception.expires) - now).days
        if left < 0:
            message = f"it ran out on {exception.expires}; its owner is {exception.owner}"
            yield Finding("expired-exception", "warning", exception.id, message)
        elif left <= _SOON:
            yield Finding("expiring-exception", "note", exception.id, f"it runs out in {left} days")


def _contained(policy: Policy) -> Iterator[Finding]:
    """Concepts whose words are part of another's, so that asking for one is asking for both."""
    index = PhraseIndex((word, concept.name) for concept in policy.concepts for word in concept.words)
    for concept in policy.concepts:
        inside = {
            (word, other) for word in concept.words for _, _, other in index.read(word).found if other != concept.name
        }
        for other in sorted({name for _, name in inside}):
            words = _listed([word for word, name in inside if name == other])
            yield Finding("contained-phrase", "note", concept.name, f"{words} also asks for `{other}`")


def _rollouts(policy: Policy) -> Iterator[Finding]:
    for rule in policy.rules:
        if rule.rollout is not None and rule.rollout.percent == 0 and rule.mode == "enforce":
            yield Finding("rollout-at-zero", "note", rule.id, "its roll-out reaches nobody yet")


def _absent(policy: Policy, adapters: Collection[str]) -> Iterator[Finding]:
    used = {
        concept.name for rule in policy.rules if isinstance(rule, EraseRule) for concept in policy.concepts_of(rule)
    }
    for concept in policy.concepts:
        if concept.adapter is not None and concept.adapter not in adapters:
            message = f"there is no adapter `{concept.adapter}` for the base `{policy.base}`"
            severity: Severity = "error" if concept.name in used else "note"
            yield Finding("absent-adapter", severity, concept.name, message)
