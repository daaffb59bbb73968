"""Facilitated Transport: how far each SPM opens for a prompt.

Source: arXiv 2312.16145, Eq. 9-11: gamma = max(s_f, s_t), with s_f the cosine between prompt and concept in the text
encoder's space and s_t the share of the concept's tokens that the prompt contains. As published, the cosine runs over
the flattened states (tokens x width), padding included. Invariant: gamma below the cut-off is exactly 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional as F


@dataclass(frozen=True, slots=True)
class Gate:
    """What a policy says about one SPM's opening.

    Attributes:
        strength: factor on the gate's permeability.
        transport: `calibrated` or `paper`, where the similarity counts, or `open`, permeability = strength whatever
            the prompt.
        floor: least permeability once it is open at all.
        ceiling: greatest permeability.
        cutoff: a permeability below this is 0.
    """

    strength: float = 1.0
    transport: str = "paper"
    floor: float = 0.0
    ceiling: float = 4.0
    cutoff: float = 0.0

    def permeability(self, similarity: float) -> float:
        """gamma >= 0 from the gate's similarity in 0..1."""
        gamma = self.strength * (1.0 if self.transport == "open" else similarity)
        if gamma < self.cutoff or gamma == 0:
            return 0.0
        return min(max(gamma, self.floor), self.ceiling)


def unigram_overlap(prompt_tokens: Sequence[int], concept_tokens: Sequence[int]) -> float:
    """s_t = |T(c) & T(p)| / |T(c)| over sets of tokens without the special ones (Eq. 11); 0 for an empty concept."""
    concept = set(concept_tokens)
    return len(concept & set(prompt_tokens)) / len(concept) if concept else 0.0


def paper_similarities(
    prompt_states: torch.Tensor,
    prompt_tokens: Sequence[int],
    concept_states: torch.Tensor,
    concept_tokens: Sequence[Sequence[int]],
) -> list[float]:
    """max(s_f, s_t) of each of the concept's phrases, in 0..1; the paper's gamma is the greatest of them.

    Args:
        prompt_states: (tokens, width), the text encoder's last hidden states of the prompt.
        prompt_tokens: its token ids, special tokens removed.
        concept_states: (phrases, tokens, width).
        concept_tokens: token ids of each phrase, special tokens removed.
    """
    cosines = F.cosine_similarity(prompt_states.flatten()[None], concept_states.flatten(1)).tolist()
    overlaps = [unigram_overlap(prompt_tokens, tokens) for tokens in concept_tokens]
    return [max(0.0, *pair) for pair in zip(cosines, overlaps, strict=True)]
