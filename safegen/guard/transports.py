"""The two ways of comparing a prompt with the concepts of a bundle, each for all SPMs at once.

Invariants: a concept is read once for each base model; what is found for an SPM does not depend on the others that are
compared beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from safegen.evaluation.gate_calibration import kept_calibration
from safegen.policy import BundleItem
from safegen.spm.calibration import Curves
from safegen.spm.names import NameIndex
from safegen.spm.similarity import ConceptStack
from safegen.spm.transport import PaperStack

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from safegen.models import BaseModel, TextReading
    from safegen.spm import SpmFile
    from safegen.spm.calibration import Calibration
    from safegen.spm.text_space import TextSpace

Bundle = Sequence[tuple[BundleItem, "SpmFile"]]
_Key = tuple[str, tuple[str, ...]]


class Prompt(NamedTuple):
    """A prompt, and how the base's text encoder reads it."""

    text: str
    reading: TextReading


class Compared(NamedTuple):
    """What a transport found, for each SPM.

    Attributes:
        opened: 0..1, before the rule's strength and bounds.
        similarity: 0..1.
        phrases: the nearest phrase of each.
    """

    opened: NDArray[np.float64]
    similarity: NDArray[np.float64]
    phrases: list[str]


class Transport(Protocol):
    """A way of comparing."""

    def compare(self, prompt: Prompt, bundle: Bundle) -> Compared:
        """Compare a prompt with the SPMs of a bundle."""


class CalibratedTransport:
    """Similarity by the words that carry meaning, on each SPM's own curve.

    The meaning is compared with the phrases that the SPM was calibrated for; the policy's phrases open it word by word.
    The stack grows with the SPMs that were ever asked for, so that it is not built anew for every bundle.
    """

    def __init__(self, space: TextSpace) -> None:
        self._space = space
        self._numbers: dict[_Key, int] = {}
        self._calibrations: list[Calibration] = []
        self._names: list[tuple[tuple[str, ...], tuple[str, ...]]] = []
        self._stacked: tuple[ConceptStack, Curves] | None = None

    def compare(self, prompt: Prompt, bundle: Bundle) -> Compared:
        """Compare a prompt with the SPMs of a bundle."""
        numbers = [self._number(item, spm) for item, spm in bundle]
        stack, curves = self._stack()
        found = stack.compare(prompt.text, self._space.points(prompt.reading))
        opened = curves.values(found.values)
        nearest = found.nearest.tolist()
        phrases = [found.named.get(at) or self._calibrations[at].phrases[nearest[at]] for at in numbers]
        return Compared(opened[numbers], found.values[numbers], phrases)

    def _number(self, item: BundleItem, spm: SpmFile) -> int:
        key = (spm.digest, item.phrases)
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self._numbers)
            calibration = kept_calibration(self._space, spm.metadata, item.phrases)
            names = tuple(dict.fromkeys([*item.phrases, *calibration.phrases]))
            self._calibrations.append(calibration)
            self._names.append((names, self._space.vocabulary.compounds(names)))
            self._stacked = None
        return number

    def _stack(self) -> tuple[ConceptStack, Curves]:
        if self._stacked is None:
            concepts = [self._space.concept(calibration.phrases) for calibration in self._calibrations]
            curves = Curves([calibration.curve for calibration in self._calibrations])
            self._stacked = ConceptStack(concepts, NameIndex(self._names)), curves
        return self._stacked


class PaperTransport:
    """The gate as published: the greatest of cosine and token overlap, over all phrases of the policy."""

    def __init__(self, base: BaseModel) -> None:
        self._base = base
        self._stack = PaperStack()

    def compare(self, prompt: Prompt, bundle: Bundle) -> Compared:
        """Compare a prompt with the SPMs of a bundle."""
        phrases = list(dict.fromkeys(phrase for item, _ in bundle for phrase in item.phrases))
        if unread := [phrase for phrase in phrases if phrase not in self._stack]:
            for phrase, concept in zip(unread, self._base.read(unread), strict=True):
                self._stack.add(phrase, concept.states, concept.tokens)
        similarities = self._stack.compare(prompt.reading.states, prompt.reading.tokens)
        nearest = [max(item.phrases, key=similarities.__getitem__) for item, _ in bundle]
        values = np.array([similarities[phrase] for phrase in nearest])
        return Compared(values, values, nearest)
