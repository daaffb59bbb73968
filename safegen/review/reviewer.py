"""What a reviewer is, and how one is asked so that no answer is taken for granted.

Invariants: a score is a finite number in 0..1; `run_review` never raises for what a reviewer does, and gives exactly
one answer an image: scores, or a failure.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast, runtime_checkable

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True, slots=True)
class Question:
    """What to look for.

    Attributes:
        targets: words for what is looked for, for reviewers that read text.
        labels: detector labels that count, for reviewers with labels of their own; empty for all of them.
    """

    targets: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Scores:
    """What a reviewer saw in one image: a score in 0..1 for each thing it was asked about."""

    all: Mapping[str, float]

    @property
    def label(self) -> str:
        """What scored best."""
        return max(self.all, key=lambda name: self.all[name])

    @property
    def best(self) -> float:
        """The best score, 0..1."""
        return max(self.all.values())


@dataclass(frozen=True, slots=True)
class ReviewFailure:
    """A reviewer gave no usable answer for one image."""

    message: str


@runtime_checkable
class Reviewer(Protocol):
    """Looks at images and scores what it was asked about."""

    @property
    def digest(self) -> str:
        """`sha256:<hex>` of the weights it sees with."""

    def review(self, images: Sequence[Image], question: Question) -> list[Scores]:
        """One `Scores` for each image, in order."""


def run_review(reviewer: Reviewer, images: Sequence[Image], question: Question) -> list[Scores | ReviewFailure]:
    """Ask a reviewer; whatever it does becomes one answer an image."""
    try:
        answers = cast("object", reviewer.review(images, question))
    except Exception as error:  # noqa: BLE001 - a reviewer is foreign code; the rule's failure mode decides
        return [ReviewFailure(f"{type(error).__name__}: {error}"[:500])] * len(images)
    if not isinstance(answers, list) or len(answers) != len(images):
        return [ReviewFailure(f"gave {_count(answers)} answers for {len(images)} images")] * len(images)
    return [_checked(answer) for answer in answers]


def _count(answers: object) -> str:
    return str(len(answers)) if isinstance(answers, list) else "no list of"


def _checked(answer: object) -> Scores | ReviewFailure:
    if not isinstance(answer, Scores) or not answer.all:
        return ReviewFailure("said nothing")
    for name, value in answer.all.items():
        score = cast("object", value)
        if not isinstance(score, int | float) or not math.isfinite(score) or not 0 <= score <= 1:
            return ReviewFailure(f"scored {name!r} as {score!r}, which is not in 0..1")
    return answer
