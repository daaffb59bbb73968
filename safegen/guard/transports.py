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
    phrases: NDArray[np.object_]


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
        self._last: tuple[list[SpmFile], list[tuple[str, ...]], NDArray[np.intp]] | None = None
        self._stacked: tuple[ConceptStack, Curves, NDArray[np.object_]] | None = None

    def compare(self, prompt: Prompt, bundle: Bundle) -> Compared:
        """Compare a prompt with the SPMs of a bundle."""
        numbers = self._numbered(bundle)
        stack, curves, phrases = self._stack()
        found = stack.compare(prompt.text, self._space.points(prompt.reading))
        nearest = phrases[found.nearest]
        for number, phrase in found.named.items():
            nearest[number] = phrase
        return Compared(curves.values(found.values)[numbers], found.values[numbers], nearest[numbers])

    def _numbered(self, bundle: Bundle) -> NDArray[np.intp]:
        """The place of each SPM in the stack, where it gets one if it has none; mostly those of the last bundle."""
        phrases, spms = [item.phrases for item, _ in bundle], [spm for _, spm in bundle]
        if self._last is None or self._last[0] != spms or self._last[1] != phrases:
            numbers = np.array([self._number(*one) for one in bundle], dtype=np.intp)
            self._last = spms, phrases, numbers
        return self._last[2]

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

    def _stack(self) -> tuple[ConceptStack, Curves, NDArray[np.object_]]:
        if self._stacked is None:
            concepts = [self._space.concept(calibration.phrases) for calibration in self._calibrations]
            curves = Curves([calibration.curve for calibration in self._calibrations])
            phrases = np.array([phrase for concept in concepts for phrase in concept.phrases], dtype=object)
            self._stacked = ConceptStack(concepts, NameIndex(self._names)), curves, phrases
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
        return Compared(values, values, np.array(nearest, dtype=object))
