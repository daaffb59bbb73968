"""Who decided: the rules, the policy or the reviewers that a record names for what was done. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from safegen.ledger import Decider

if TYPE_CHECKING:
    from safegen.guard.result import GeneratedImage
    from safegen.policy import Decision


def deciders(decision: Decision) -> tuple[Decider, ...]:
    """The rule that refuses, else those that gave the action, else the policy, which no rule of touched the prompt."""
    if decision.refusal is not None:
        return (Decider(kind="rule", name=decision.refusal.rule),)
    rules = dict.fromkeys(match.rule for match in decision.matches if match.action == decision.action)
    return tuple(Decider(kind="rule", name=rule) for rule in rules) or (
        Decider(kind="policy", name=decision.policy.id),
    )


def deciders_of_end(decision: Decision, images: Sequence[GeneratedImage]) -> tuple[Decider, ...]:
    """Who had the last word: the rule that refused, else the reviewers, else who decided that none need look.

    Where an image was withheld, it is the reviewers that found something in it or failed; else all that looked.
    """
    withheld = [each for image in images if image.outcome == "withheld" for each in image.seen]
    against = [each for each in withheld if each.found or each.failure is not None]
    looked = against or [each for image in images for each in image.seen]
    names = dict.fromkeys(each.reviewer for each in looked)
    return tuple(Decider(kind="reviewer", name=name) for name in names) or deciders(decision)
