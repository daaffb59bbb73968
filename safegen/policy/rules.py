"""The rules of a policy: what each of the five actions lets an author say.

Invariant: a rule that exists says only what its action can do.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field, StringConstraints

from safegen.policy.parts import (
    LARGEST_STRENGTH,
    Action,
    Closed,
    FailureMode,
    Match,
    Mode,
    Name,
    Permeability,
    Reason,
    Rollout,
    Scope,
    Slug,
    Step,
    Strength,
    Text,
    Threshold,
    Transport,
    When,
)


class Review(Closed):
    """A look at the finished image by a classifier, and what follows when it finds something."""

    reviewer: Slug
    concepts: tuple[Name, ...] = ()
    labels: tuple[Name, ...] = ()
    threshold: Threshold = 0.5
    ladder: Annotated[tuple[Step, ...], Field(min_length=1)] = ("withhold",)
    on_failure: FailureMode = "withhold"


class EraseReview(Review):
    """A review under an erase rule, where escalating (membranes fully open) is possible."""

    ladder: Annotated[tuple[Step, ...], Field(min_length=1)] = ("escalate", "reseed", "withhold")


class BaseRule(Closed):
    """What all rules have in common.

    Attributes:
        mode: `shadow` decides nothing and leaves its trace.
        when: which requests the rule is for.
        rollout: the share of subjects that the rule is in force for; everybody if absent.
    """

    id: Slug
    description: Text = ""
    match: Match
    action: Action
    reason: Text = ""
    mode: Mode = "enforce"
    when: When = When()
    rollout: Rollout | None = None


class AllowRule(BaseRule):
    """Takes its matched words out of the reach of erase, redact and review rules."""

    action: Literal["allow"]


class EraseRule(BaseRule):
    """Puts the SPMs of its concepts into the bundle."""

    action: Literal["erase"]
    scope: Scope = "matched"
    strength: Strength = 1.0
    transport: Transport = "calibrated"
    floor: Permeability = 0.0
    ceiling: Permeability = LARGEST_STRENGTH
    cutoff: Permeability = 0.0
    reviews: tuple[EraseReview, ...] = ()


class RedactRule(BaseRule):
    """Takes its matched words out of the prompt before it is drawn, or puts others in their place."""

    action: Literal["redact"]
    replacement: Annotated[str, StringConstraints(max_length=200)] = ""


class RefuseRule(BaseRule):
    """Draws nothing and tells the app why; an `absolute` one takes no exceptions."""

    action: Literal["refuse"]
    reason: Reason
    absolute: bool = False


class ReviewRule(BaseRule):
    """Changes no pixel; has the finished image looked at."""

    action: Literal["review"]
    reviews: Annotated[tuple[Review, ...], Field(min_length=1)]


Rule: TypeAlias = Annotated[AllowRule | EraseRule | RedactRule | RefuseRule | ReviewRule, Field(discriminator="action")]
RULE_KINDS: dict[str, type[BaseRule]] = {
    "allow": AllowRule,
    "erase": EraseRule,
    "redact": RedactRule,
    "refuse": RefuseRule,
    "review": ReviewRule,
}
