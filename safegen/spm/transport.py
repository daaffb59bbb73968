"""Facilitated Transport: the gate as published, and the bounds that a policy sets to every gate.

Source: arXiv 2312.16145, Eq. 9-11: gamma = max(s_f, s_t), with s_f the cosine between prompt and concept in the text
encoder's space and s_t the share of the concept's tokens that the prompt contains. As published, the cosine runs over
the flattened states (tokens x width), padding included. Invariant: gamma below the cut-off is exactly 0.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

_Values = NDArray[np.float64] | float


def bounded(opened: _Values, strength: _Values, floor: _Values, ceiling: _Values, cutoff: _Values) -> _Values:
    """gamma of each SPM: 0 below its rule's cut-off, else within floor and ceiling.

    Args:
        opened: what the transport gives, 0..1.
        strength: factor on it.
        floor: least permeability once it is open at all.
        ceiling: greatest permeability.
        cutoff: a permeability below this is 0.
    """
    gamma = np.multiply(strength, opened)
    return np.where((gamma < cutoff) | (gamma == 0), 0.0, np.minimum(np.maximum(gamma, floor), ceiling))


def unigram_overlap(prompt_tokens: Sequence[int], concept_tokens: Sequence[int]) -> float:
    """s_t = |T(c) & T(p)| / |T(c)| over sets of tokens without the special ones (Eq. 11); 0 for an empty concept."""
    concept = set(concept_tokens)
    return len(concept & set(prompt_tokens)) / len(concept) if concept else 0.0


class PaperStack:
    """Phrases to compare prompts with as the paper does, all at once."""

    def __init__(self) -> None:
        self._tokens: dict[str, tuple[int, ...]] = {}
        self._states: list[torch.Tensor] = []
        self._stacked = torch.zeros(0, 0)

    def __contains__(self, phrase: str) -> bool:
        return phrase in self._tokens

    def add(self, phrase: str, states: torch.Tensor, tokens: Sequence[int]) -> None:
        """Add a phrase.

        Args:
            phrase: its text.
            states: (positions, width), the text encoder's last hidden states, padding included.
            tokens: its token ids, special tokens removed.
        """
        self._tokens[phrase] = tuple(tokens)
        self._states.append(F.normalize(states.flatten(), dim=0))

    def compare(self, states: torch.Tensor, tokens: Sequence[int]) -> dict[str, float]:
        """max(s_f, s_t) of a prompt with each phrase, 0..1; the paper's gamma is the greatest over a concept's."""
        if not self._tokens:
            return {}
        if len(self._stacked) < len(self._states):
            self._stacked = torch.stack(self._states)
        cosines = (self._stacked @ F.normalize(states.flatten(), dim=0)).tolist()
        return {
            phrase: max(0.0, cosine, unigram_overlap(tokens, own))
            for (phrase, own), cosine in zip(self._tokens.items(), cosines, strict=True)
        }
