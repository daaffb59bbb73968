"""Opens the bundle's membranes for one prompt, and opens them further when a review asks for it.

Invariant: a concept's phrases are read once for each base model; a permeability is 0 exactly when the gate's cut-off
says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from safegen.policy import BundleItem
from safegen.spm import Attached, Gate, SpmFile

if TYPE_CHECKING:
    from safegen.models import BaseModel, TextReading

ESCALATION = 2.0
"""Escalating opens a membrane to this multiple of what it was, or of its rule's strength if that is more."""


@dataclass(frozen=True)
class Opening:
    """One SPM of the bundle and its permeability for the prompt at hand.

    Attributes:
        gamma: permeability, 0 if closed.
        phrase: the phrase of the concept that the gate found nearest to the prompt, or that the policy matched in it;
            empty if the gate was told to be open whatever the prompt.
        similarity: how near, 0..1; 1 for a phrase that the policy matched, 0 if nothing was compared.
        escalated: whether a review opened it further.
    """

    item: BundleItem
    spm: SpmFile
    gamma: float
    phrase: str
    similarity: float
    escalated: bool = False

    def escalate(self) -> Opening:
        """Opened to erasing: twice as far as before, up to the rule's ceiling."""
        wider = min(self.item.ceiling, ESCALATION * max(self.gamma, self.item.strength))
        return replace(self, gamma=max(wider, self.gamma), escalated=True)

    def attached(self) -> Attached:
        """As `spm.attach` takes it."""
        return Attached(spm=self.spm, gamma=self.gamma, name=self.item.adapter)


class Gatekeeper:
    """Facilitated Transport for one base model, with the concepts' readings kept."""

    def __init__(self, base: BaseModel) -> None:
        self._base = base
        self._readings: dict[str, TextReading] = {}

    def open(self, prompt: str, bundle: Sequence[tuple[BundleItem, SpmFile]]) -> tuple[list[Opening], bool]:
        """Permeability of each SPM for the prompt, and whether the prompt is longer than the base reads."""
        unread = dict.fromkeys(phrase for item, _ in bundle for phrase in item.phrases if phrase not in self._readings)
        reading, *concepts = self._base.read([prompt, *unread])
        self._readings.update(zip(unread, concepts, strict=True))
        return [self._opening(reading, item, spm) for item, spm in bundle], reading.truncated

    def _opening(self, prompt: TextReading, item: BundleItem, spm: SpmFile) -> Opening:
        phrase, similarity = self._nearest(prompt, item)
        gate = Gate(item.strength, item.transport, item.floor, item.ceiling, item.cutoff)
        return Opening(item, spm, gate.permeability(similarity), phrase, similarity)

    def _nearest(self, prompt: TextReading, item: BundleItem) -> tuple[str, float]:
        """The phrase that opens the gate, and the similarity by which it does."""
        from safegen.spm import paper_similarities

        if item.transport == "open":
            return "", 0.0
        if item.matched:
            return item.matched, 1.0
        known = [self._readings[phrase] for phrase in item.phrases]
        similarities = paper_similarities(
            prompt.states, prompt.tokens, _stack([each.states for each in known]), [each.tokens for each in known]
        )
        similarity = max(similarities)
        return item.phrases[similarities.index(similarity)], similarity


def _stack(states: list[torch.Tensor]) -> torch.Tensor:
    import torch

    return torch.stack(states)


if TYPE_CHECKING:
    import torch
