"""How similar one prompt is to many concepts, in one computation.

A concept's similarity is 1 if one of its phrases stands in the prompt, whole and not inside the name of another thing;
else the greatest discriminant of any of the prompt's words to any of its phrases, within 0..`MOST_BY_MEANING`.
Invariants: a concept's similarity does not depend on which others are compared; the cost is one matrix product,
whatever their number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from safegen.spm.names import NameIndex, runs
from safegen.spm.text_space import Concept, Points

MOST_BY_MEANING = 0.99
"""No meaning is as certain as the word itself: a gate whose cut-off lies above opens for its words alone."""


@dataclass(frozen=True)
class Similarities:
    """What a prompt has of each concept.

    Attributes:
        values: (concepts,), 0..1.
        nearest: (concepts,), number of the phrase that comes nearest by meaning, among the phrases of all concepts.
        named: phrase by concept number, where the prompt says it word by word.
    """

    values: NDArray[np.float64]
    nearest: NDArray[np.int64]
    named: dict[int, str]


class ConceptStack:
    """Concepts whose rows are stacked once, to be compared with one prompt after the other."""

    def __init__(self, concepts: Sequence[Concept], index: NameIndex | None = None) -> None:
        """Stack concepts.

        Args:
            concepts: at least one.
            index: the words that name each of them, by their order; their own phrases by default.
        """
        self._names = index or NameIndex([(concept.phrases, concept.compounds) for concept in concepts])
        self._counts = np.array([len(concept.phrases) for concept in concepts], dtype=np.int64)
        self._starts = np.concatenate([[0], self._counts.cumsum()[:-1]])
        self._rows = torch.cat([concept.rows for concept in concepts]).T.contiguous()
        hidden: dict[tuple[int, ...], list[int]] = {}
        for concept, start in zip(concepts, self._starts.tolist(), strict=True):
            for run in concept.hidden:
                hidden.setdefault(run, []).extend(range(start, start + len(concept.phrases)))
        self._hidden = {run: torch.tensor(rows) for run, rows in hidden.items()}
        self._lengths = sorted({len(run) for run in hidden})

    def compare(self, prompt: str, points: Points) -> Similarities:
        """Similarity of a prompt to every concept, by its words and by their meaning."""
        best = self._meant([points])[0]
        values = np.maximum.reduceat(best, self._starts)
        hits = np.flatnonzero(best == np.repeat(values, self._counts))
        nearest = hits[np.searchsorted(hits, self._starts)]
        named = self._names.find(prompt)
        values[list(named)] = 1.0
        return Similarities(values, nearest, named)

    def meaning(self, texts: Sequence[Points]) -> NDArray[np.float64]:
        """(texts, concepts): similarity by meaning alone, up to `MOST_BY_MEANING`."""
        if not texts:
            return np.zeros((0, len(self._starts)))
        return np.maximum.reduceat(self._meant(texts), self._starts, axis=1)

    def _meant(self, texts: Sequence[Points]) -> NDArray[np.float64]:
        """(texts, phrases of all concepts): the greatest similarity of any word of each text."""
        lengths = [len(points.tokens) for points in texts]
        similarities = torch.cat([points.values for points in texts]) @ self._rows
        start = 0
        for points, length in zip(texts, lengths, strict=True):
            self._hide(points.tokens, similarities[start : start + length])
            start += length
        parts = torch.split(similarities, lengths)
        best = torch.stack([part.amax(0) if len(part) else part.new_zeros(part.shape[1]) for part in parts])
        return best.double().clamp_(0, MOST_BY_MEANING).numpy()

    def _hide(self, tokens: tuple[int, ...], similarities: torch.Tensor) -> None:
        """What stands inside the name of another thing has no similarity."""
        for at, length in runs(tokens, self._lengths):
            rows = self._hidden.get(tokens[at : at + length])
            if rows is not None:
                similarities[at : at + length, rows] = 0.0
