"""The calibrated gate over installed SPMs, for measuring: the same computation as a guard's, without a policy.

Invariant: an SPM opens for a prompt here exactly as far as a guard opens it with strength 1 and no phrase matched by a
rule.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from safegen.evaluation.gate_calibration import kept_calibration, text_space
from safegen.models import TextReading
from safegen.spm import AdapterEntry, Attached, SpmFile
from safegen.spm.similarity import ConceptStack

if TYPE_CHECKING:
    from safegen.models import BaseModel
    from safegen.spm.text_space import TextSpace


@dataclass(frozen=True)
class Installed:
    """One SPM and the phrases that its gate looks for."""

    name: str
    phrases: tuple[str, ...]
    spm: SpmFile

    @classmethod
    def of(cls, entry: AdapterEntry, spm: SpmFile) -> Installed:
        """As the registry has it."""
        return cls(entry.id, entry.phrases, spm)


class Gated:
    """Opens SPMs for prompts."""

    def __init__(
        self,
        base: BaseModel,
        installed: Sequence[Installed],
        *,
        space: TextSpace | None = None,
        text_of: Callable[[Sequence[int]], str] = lambda _tokens: "",
    ) -> None:
        """Read the concepts.

        Args:
            base: whose text encoder reads prompts.
            installed: at least one SPM.
            space: of the base, if it is known already.
            text_of: tokens as text, so that `gammas` compares words as well as meaning.
        """
        self._text_of = text_of
        self._installed = tuple(installed)
        self._space = space or text_space(base)
        self._stack = ConceptStack([self._space.concept(each.phrases) for each in self._installed])
        self._calibrations = [
            kept_calibration(self._space, each.spm.metadata, each.phrases) for each in self._installed
        ]

    def __call__(self, prompts: Sequence[str]) -> list[tuple[Attached, ...]]:
        """What opens for each prompt."""
        opened = []
        for prompt, points in zip(prompts, self._space.read(prompts), strict=True):
            values = self._stack.compare(prompt, points).values
            opened.append(self._attached([float(value) for value in values]))
        return opened

    def gammas(self, states: torch.Tensor, tokens: Sequence[Sequence[int]] | None) -> torch.Tensor:
        """Permeabilities (rows, SPMs) for text states (rows, tokens, width) and the tokens that they were read from.

        States without tokens come from no text: nobody can say what they mean, so everything opens, fully.
        """
        if tokens is None:
            return torch.ones(len(states), len(self._installed))
        rows = []
        for row, own in zip(states.detach(), tokens, strict=True):
            points = self._space.points(TextReading(states=row, tokens=tuple(own), truncated=False))
            values = self._stack.compare(self._text_of(own), points).values
            rows.append([each.permeability(float(v)) for each, v in zip(self._calibrations, values, strict=True)])
        return torch.tensor(rows)

    def _attached(self, similarities: Sequence[float]) -> tuple[Attached, ...]:
        gammas = [each.permeability(value) for each, value in zip(self._calibrations, similarities, strict=True)]
        pairs = zip(self._installed, gammas, strict=True)
        return tuple(Attached(each.spm, gamma, each.name) for each, gamma in pairs if gamma)
