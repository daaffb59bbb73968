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
    """One SPM of the bundle and its permeability for the prompt at hand."""

    item: BundleItem
    spm: SpmFile
    gamma: float
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
        from safegen.spm import paper_permeability

        unread = [phrase for item, _ in bundle for phrase in item.phrases if phrase not in self._readings]
        prompt_reading, *concepts = self._base.read([prompt, *dict.fromkeys(unread)])
        self._readings.update(zip(dict.fromkeys(unread), concepts, strict=True))
        openings = []
        for item, spm in bundle:
            gate = Gate(item.strength, item.transport, item.floor, item.ceiling, item.cutoff)
            known = [self._readings[phrase] for phrase in item.phrases]
            similarity = paper_permeability(
                prompt_reading.states,
                prompt_reading.tokens,
                _stack([reading.states for reading in known]),
                [reading.tokens for reading in known],
            )
            openings.append(Opening(item=item, spm=spm, gamma=gate.permeability(similarity)))
        return openings, prompt_reading.truncated


def _stack(states: list[torch.Tensor]) -> torch.Tensor:
    import torch

    return torch.stack(states)


if TYPE_CHECKING:
    import torch
