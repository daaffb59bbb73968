"""The verdict over one image: which step its rules' ladders have come to.

A ladder lists what follows the first, second, third find of its rule. Past its end the last step holds if it is an
end (`withhold` or `release`); any other last step becomes `withhold`, so that no ladder goes on for ever. Of all steps
asked for, the strictest is taken.

Invariants: pure; a review that was ordered and is missing withholds; nothing found and nothing failed is the only way
to an unflagged release; more finds, higher scores and failures that withhold never make a verdict laxer; one request
takes at most as many attempts as its rules' longest ladders have steps together.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

Step = Literal["escalate", "reseed", "withhold", "release"]
_STRICTNESS: Mapping[Step, int] = MappingProxyType({"release": 0, "escalate": 1, "reseed": 2, "withhold": 3})
_ENDS: frozenset[Step] = frozenset({"withhold", "release"})


@dataclass(frozen=True, slots=True)
class Finding:
    """What one reviewer said for one rule about one image.

    Attributes:
        rule: the rule that ordered the look.
        reviewer: who looked.
        label: what scored best.
        score: 0..1; None exactly if the reviewer failed.
        failure: why there is no score; None exactly if there is one.
        threshold: 0..1; a score at or above it is a find.
        ladder: what follows the rule's first, second, third find.
        on_failure: what follows a failure.

    Raises:
        ValueError: score and failure do not exclude each other, a number is not in 0..1, or the ladder is no ladder.
    """

    rule: str
    reviewer: str
    label: str
    score: float | None
    failure: str | None
    threshold: float
    ladder: tuple[Step, ...]
    on_failure: Literal["withhold", "release"]

    def __post_init__(self) -> None:
        if (self.score is None) == (self.failure is None):
            raise ValueError("a finding has a score or a failure, and never both")
        for name, value in (("score", self.score), ("threshold", self.threshold)):
            if value is not None and not (math.isfinite(value) and 0 <= value <= 1):
                raise ValueError(f"the {name} of a finding must be in 0..1, not {value!r}")
        if not self.ladder or not set(self.ladder) <= set(_STRICTNESS) or self.on_failure not in _ENDS:
            raise ValueError(f"no such steps: ladder {self.ladder!r}, on_failure {self.on_failure!r}")

    @property
    def found(self) -> bool | None:
        """Whether the score reaches the threshold; None if the reviewer failed."""
        return None if self.score is None else self.score >= self.threshold


@dataclass(frozen=True, slots=True)
class LadderState:
    """How often each rule has found something in one image so far; a rule that is not named, never."""

    taken: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "taken", MappingProxyType(dict(self.taken)))

    def advance(self, rules: AbstractSet[str]) -> LadderState:
        """The state after one more step of these rules' ladders."""
        return LadderState({**self.taken, **{rule: self.taken.get(rule, 0) + 1 for rule in rules}})


@dataclass(frozen=True, slots=True)
class Verdict:
    """What happens with an image.

    Attributes:
        action: the strictest step that any rule asks for; `release` if none asks for anything.
        because: ids of the rules that ask for that step.
        state: the ladders afterwards.
        steps: the step that each rule asks for, its strictest if it asks for several; a rule that found nothing and
            whose reviewers answered is not among them.
    """

    action: Step
    because: tuple[str, ...]
    state: LadderState
    steps: Mapping[str, Step] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", MappingProxyType(dict(self.steps)))

    @property
    def flagged(self) -> bool:
        """Whether the image is released although a rule found something or a reviewer failed."""
        return self.action == "release" and bool(self.because)


def judge_image(
    findings: Sequence[Finding], state: LadderState, expected: AbstractSet[tuple[str, str]] = frozenset()
) -> Verdict:
    """The verdict over one image.

    Args:
        findings: one for each review that was done.
        state: the ladders so far.
        expected: (rule, reviewer) of every review that was ordered; one that is missing withholds the image, whatever
            its rule says of failures, since nobody is there to say what it was.
    """
    answered = {(finding.rule, finding.reviewer) for finding in findings}
    asked = [(finding.rule, _step(finding, state)) for finding in findings if finding.found is not False]
    asked += [(rule, "withhold") for rule, _ in sorted(expected - answered)]
    steps: dict[str, Step] = {}
    for rule, step in asked:
        steps[rule] = max(steps.get(rule, "release"), step, key=_STRICTNESS.__getitem__)
    action: Step = max(steps.values(), key=_STRICTNESS.__getitem__, default="release")
    because = tuple(rule for rule, step in steps.items() if step == action)
    return Verdict(action, because, state.advance({finding.rule for finding in findings if finding.found}), steps)


def _step(finding: Finding, state: LadderState) -> Step:
    """What a find or a failure asks for."""
    if finding.score is None:
        return finding.on_failure
    taken = state.taken.get(finding.rule, 0)
    if taken < len(finding.ladder):
        return finding.ladder[taken]
    return finding.ladder[-1] if finding.ladder[-1] in _ENDS else "withhold"
