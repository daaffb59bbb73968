"""What a reviewer is: what it is asked, what it answers, and what stands in for an answer that did not come.

Invariants: thresholds are no business of a reviewer, it gives scores and says by which weights; `best` and `label`
follow from `all`, so they cannot contradict it.
"""

from __future__ import annotations

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
        labels: detector labels that count, for reviewers with labels of their own; empty leaves the choice to them.

    Raises:
        TypeError: a plain string, which would be taken for its letters.
    """

    targets: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for words in cast("tuple[object, object]", (self.targets, self.labels)):
            if isinstance(words, str):
                raise TypeError(f"a question needs a tuple of words, not the text {words!r}")


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
    """A reviewer gave no usable answer for one image; the message says why."""

    message: str


@runtime_checkable
class Reviewer(Protocol):
    """Looks at images and scores what it was asked about."""

    @property
    def name(self) -> str:
        """What policies call it."""

    @property
    def digest(self) -> str:
        """`sha256:<hex>` of the weights it sees with."""

    def review(self, images: Sequence[Image], question: Question) -> list[Scores]:
        """One `Scores` for each image, in order; every target or every label of the question has its score.

        Whatever it raises becomes a failure of each image, see `run_review`.
        """
