"""What a policy decides about one request, as frozen values that can be logged and shown.

Invariants: a refusal has an empty bundle and no reviews; `start:end` of a match always cuts its `text` out of the
prompt that was asked for; what is in shadow stands in the trace and nowhere else.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from safegen.policy.parts import Action, AgeGate, Closed, FailureMode, Slug, Step, Transport

OTHER_CATEGORY = "other"
"""Category of a refusal whose rule matched plain words, or every prompt, and so has none of its own."""

Outcome: TypeAlias = Literal["allow", "erase", "redact", "refuse", "review"]
Status: TypeAlias = Literal["applied", "allowed", "excepted", "shadow", "not_rolled_out", "other_request"]


class Audience(Closed):
    """For whom the app asks.

    Attributes:
        tenant: the app's customer.
        market: the market that the picture is for, e.g. `de`.
        age_gate: whether the user has shown to be of age.
        subject: whom a staged roll-out counts by, e.g. a pseudonymous user id; the prompt stands in for an empty one.
    """

    tenant: Slug | None = None
    market: Slug | None = None
    age_gate: AgeGate = "unknown"
    subject: str = ""


class PromptRequest(Audience):
    """What the app asks for, and for whom."""

    prompt: str
    negative_prompt: str = ""


class RuleMatch(Closed):
    """One rule that applies, and the words that made it so.

    A rule that matches every prompt has an empty `phrase` and `text`, and spans 0:0.
    """

    rule: str
    action: Action
    concept: str | None = None
    category: str | None = None
    phrase: str = ""
    text: str = ""
    start: int = 0
    end: int = 0


class TraceEntry(Closed):
    """One match, and what became of it.

    Attributes:
        status: `applied`, or why not: an allow rule freed the words, an exception lifted the rule, the rule is in
            shadow, its roll-out has not reached the subject, or it is for other requests.
        because: id of the allow rule or the exception; empty for the rest.
    """

    match: RuleMatch
    status: Status
    because: str = ""


class BundleItem(Closed):
    """One SPM to attach, and how its gate is set.

    Attributes:
        matched: the phrase by which the policy found the concept in the prompt, disguises seen through; empty if no
            words did, since its rule always acts.
    """

    rule: str
    concept: str
    adapter: str
    phrases: tuple[str, ...]
    matched: str = ""
    strength: float
    transport: Transport
    floor: float
    ceiling: float
    cutoff: float


class ReviewOrder(Closed):
    """One look that the finished images must pass.

    Attributes:
        concepts: names of the concepts to look for.
        targets: the first phrase of each of them, for scoring by text.
        labels: detector labels that count; empty means the reviewer's own choice.
        threshold: 0..1; a score at or above it means "found".
        ladder: what follows a find, step by step.
        on_failure: what follows a reviewer that fails or says nothing.
    """

    rule: str
    reviewer: str
    concepts: tuple[str, ...]
    targets: tuple[str, ...]
    labels: tuple[str, ...]
    threshold: float
    ladder: tuple[Step, ...]
    on_failure: FailureMode


class Refusal(Closed):
    """Why nothing is drawn: the rule, its reason, the category, and the words of the prompt that broke it."""

    rule: str
    reason: str
    category: str
    text: str


class PolicyRef(Closed):
    """The policy that decided."""

    id: str
    version: int
    digest: str


class Decision(Closed):
    """What happens with one request.

    Attributes:
        action: `refuse` draws nothing; `erase` has a bundle; `redact` only changes the prompt; `review` only looks;
            `allow` is untouched by any rule.
        normalised: the prompt as it was compared.
        prompt: the prompt to draw, without what redact rules took out of it.
        matches: matches that apply, in the order of their words.
        trace: every match that was considered, with what became of it.
    """

    action: Outcome
    normalised: str
    prompt: str
    matches: tuple[RuleMatch, ...] = ()
    bundle: tuple[BundleItem, ...] = ()
    reviews: tuple[ReviewOrder, ...] = ()
    refusal: Refusal | None = None
    trace: tuple[TraceEntry, ...] = ()
    policy: PolicyRef
