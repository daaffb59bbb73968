"""The verdict over one image: which step its rules' ladders have come to.

A ladder lists what follows the first, second, third find of its rule; past its end the last step holds. Of all steps
asked for, the strictest is taken. Invariants: a review that was ordered and is missing counts as failed; nothing found
and nothing failed is the only way to an unflagged release; more finds, higher scores and failures that withhold never
make a verdict laxer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Literal

Step = Literal["escalate", "reseed", "withhold", "release"]
_STRICTNESS: Mapping[Step, int] = {"release": 0, "escalate": 1, "reseed": 2, "withhold": 3}


@dataclass(frozen=True, slots=True)
class Finding:
    """What one reviewer said for one rule about one image; `score` is None exactly if it failed."""

    rule: str
    reviewer: str
    label: str
    score: float | None
    failure: str | None
    threshold: float
    ladder: tuple[Step, ...]
    on_failure: Literal["withhold", "release"]

    @property
    def found(self) -> bool:
        """Whether the score reaches the threshold; False if there is none."""
        return self.score is not None and self.score >= self.threshold


@dataclass(frozen=True, slots=True)
class LadderState:
    """How many steps of each rule's ladder one image has taken."""

    taken: Mapping[str, int] = field(default_factory=dict)

    def advance(self, rules: AbstractSet[str]) -> LadderState:
        """The state after one more step of these rules' ladders."""
        return LadderState({**self.taken, **{rule: self.taken.get(rule, 0) + 1 for rule in rules}})


@dataclass(frozen=True, slots=True)
class Verdict:
    """What happens with an image, the rules that want it, and the ladders' state afterwards."""

    action: Step
    because: tuple[str, ...]
    state: LadderState


def judge_image(
    findings: Sequence[Finding], state: LadderState, expected: AbstractSet[tuple[str, str]] = frozenset()
) -> Verdict:
    """The verdict over one image.

    Args:
        findings: one for each review that was done.
        state: the ladders so far.
        expected: (rule, reviewer) of every review that was ordered; one that is missing withholds the image.
    """
    asked: list[tuple[str, Step]] = [_asked(finding, state) for finding in findings if finding.found or finding.failure]
    answered = {(finding.rule, finding.reviewer) for finding in findings}
    asked += [(rule, "withhold") for rule, _ in sorted(expected - answered)]
    if not asked:
        return Verdict("release", (), state)
    strictest = max(asked, key=lambda each: _STRICTNESS[each[1]])[1]
    because = tuple(dict.fromkeys(rule for rule, step in asked if step == strictest))
    found = {finding.rule for finding in findings if finding.found}
    return Verdict(strictest, because, state.advance(found))


def _asked(finding: Finding, state: LadderState) -> tuple[str, Step]:
    if not finding.found:
        return finding.rule, finding.on_failure
    taken = state.taken.get(finding.rule, 0)
    return finding.rule, finding.ladder[min(taken, len(finding.ladder) - 1)]
