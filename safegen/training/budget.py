"""Finds the weight of Latent Anchoring from a budget: how much the anchors' predictions may change.

Dual ascent on min L_era subject to drift <= limit: after each update the multiplier, lambda of Eq. 8 (arXiv
2312.16145), grows while the drift is over the budget and falls while it is under, by a factor, so that neither the
scale of the losses nor lambda's beginning matters. Drift is sqrt(E (~eps(a) - eps(a))^2 / E eps(a)^2), smoothed over
some ten updates. What the ascent leaves over the budget at the end, weakening the membranes takes away. Invariant: two
numbers are the whole state of the ascent, so that a checkpoint can hold it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from safegen.models import TrainableModel
from safegen.spm import MembraneSet

Point = tuple[int, torch.Tensor, torch.Tensor]
"""Time step, latents, and text states of anchors: where drift is measured."""

_PACE = 0.1
"""The greatest change of log lambda in an update."""
_MEMORY = 0.9
_WEAKEN = 0.99
_LEAST, _MOST = 1e-3, 1e6


class AnchorBudget:
    """The multiplier and what it follows.

    Attributes:
        weight: lambda in force.
        square: smoothed square of the drift.
    """

    def __init__(self, limit: float, weight: float) -> None:
        """Begin.

        Args:
            limit: relative change that is allowed, > 0.
            weight: lambda to begin with.
        """
        self._limit, self.weight, self.square = limit, weight, 0.0

    def observe(self, square: float) -> None:
        """Take in the square of one update's drift."""
        self.square = _MEMORY * self.square + (1 - _MEMORY) * square
        over = min(1.0, self.square / self._limit**2 - 1)
        self.weight = min(_MOST, max(_LEAST, self.weight * math.exp(_PACE * over)))

    @property
    def state(self) -> tuple[float, float]:
        """Everything that updates change."""
        return self.weight, self.square

    @state.setter
    def state(self, state: tuple[float, float]) -> None:
        self.weight, self.square = state


@torch.no_grad()
def weaken(base: TrainableModel, membranes: MembraneSet, points: Sequence[Point], limit: float) -> float:
    """Scale the membranes down until the drift at the points is within the limit; the drift that is left.

    Membranes that are within the limit keep their bits.
    """
    drift = _drift(base, membranes, points)
    while drift > limit:
        for _, membrane in membranes.items():  # noqa: PERF102 - no mapping
            membrane.up.mul_(min(_WEAKEN, limit / drift))
        drift = _drift(base, membranes, points)
    return drift


def _drift(base: TrainableModel, membranes: MembraneSet, points: Sequence[Point]) -> float:
    changed = whole = 0.0
    for timestep, latents, anchors in points:
        bare = base.predict(latents, timestep, anchors)
        with membranes.open(base.targets()):
            opened = base.predict(latents, timestep, anchors)
        changed += float((opened - bare).square().sum())
        whole += float(bare.square().sum())
    return math.sqrt(changed / whole)
