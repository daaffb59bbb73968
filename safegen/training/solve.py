"""Solves an SPM in closed form: no denoising and no gradients, about a second for a concept on one core.

A prompt reaches the denoiser through the key and value projections W of its cross-attention layers, and through nothing
else. Let x be a text state of the target prompt and y the state of the surrogate prompt that stands for it
(`alignment`). With a membrane M = (alpha / r) up down the layer reads W x + M x; it should read what Eq. 4 of
arXiv 2312.16145 asks for, taken at the layer's output instead of the denoiser's:

    W x + M x = W y - eta (W x - W y),    that is    M x = W d    with    d = (1 + eta) (y - x).

Latent Anchoring (Eq. 7) keeps M a small at the states a of the anchors. Together they are a reduced-rank regression
with weight lambda on the anchors, solved in `reduced_rank`. Lambda is not set by hand: it is the least that keeps the
drift, the relative change of the anchors' keys and values, within a budget. The anchors weigh in three equal parts: a
vocabulary of real prompts, those of them nearest to the targets, and the empty prompt, which guidance reads at every
step.

Closed-form edits of these projections: UCE, arXiv 2308.14761 (full rank, weights by hand); here the result is a
membrane of rank r, switched by a gate as any other SPM. Invariants: the base is only read; the same input gives the
same bits; the drift of a solution never exceeds its budget.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from safegen.errors import TrainingError
from safegen.models import TextReading, TrainableModel
from safegen.spm import MembraneSet, SpmFile
from safegen.spm.layers import layer_name
from safegen.training.alignment import align
from safegen.training.reading import read_all, refuse_truncated
from safegen.training.reduced_rank import Fit, Regression, within_budget

DRIFT = 0.03
"""The default budget: the anchors' keys and values change by 3 %."""
_NEAREST = 64


@dataclass(frozen=True)
class Solution:
    """A solved SPM.

    Attributes:
        membranes: of the cross-attention's key and value projections.
        anchor_weight: the lambda that was found.
        drift: relative change of the anchors' keys and values, at most the budget.
        reached: share of the wanted change of the targets' keys and values that is made, at most 1.
        nearest: the anchors nearest to the targets, nearest first.
    """

    membranes: MembraneSet
    anchor_weight: float
    drift: float
    reached: float
    nearest: tuple[str, ...]

    def spm(self, metadata: Mapping[str, str] | None = None) -> SpmFile:
        """The same as the content of an SPM file, to attach without writing one."""
        layers = {
            layer_name(name): (membrane.down.detach(), membrane.up.detach(), membrane.alpha)
            for name, membrane in self.membranes.items()
        }
        return SpmFile(layers=layers, metadata=metadata or {}, digest="")


def text_projections(base: TrainableModel) -> dict[str, nn.Linear]:
    """The key and value projections of the cross-attention layers, by path inside the denoiser.

    Raises:
        TrainingError: the denoiser has none (MMDiT models mix text and picture in one attention).
    """
    found = {
        path: module
        for path, module in base.targets().items()
        if path.endswith(("attn2.to_k", "attn2.to_v")) and isinstance(module, nn.Linear)
    }
    if not found:
        raise TrainingError(
            f"a base of the family {base.family!r} has no cross-attention to solve for",
            hint="train with `method: loop`",
        )
    return found


class Solver:
    """Solves SPMs for one base model over one vocabulary of anchors, which is read once for all of them."""

    def __init__(self, base: TrainableModel, anchors: Sequence[str]) -> None:
        """Read the vocabulary.

        Args:
            base: the model to solve for.
            anchors: real prompts; a concept keeps those that do not name it.

        Raises:
            TrainingError: the base has no cross-attention to solve for.
        """
        self._base = base
        self._modules = text_projections(base)
        self._weights = [module.weight.detach().cpu().double() for module in self._modules.values()]
        self._readings: dict[str, TextReading] = {}
        self._anchors = tuple(dict.fromkeys(anchor for anchor in anchors if anchor))
        self._empty = _moment(self._read([""]))
        if self._anchors:
            readings = self._read(self._anchors)
            self._centre = torch.stack([_end(reading) for reading in readings]).mean(0)
            self._directions = self._directions_of(readings)
            self._total = _moment(readings) * len(readings)

    def solve(
        self,
        pairs: Sequence[tuple[str, str]],
        *,
        names_concept: Callable[[str], bool] = lambda _prompt: False,
        rank: int = 1,
        alpha: float = 1.0,
        eta: float = 0.0,
        drift: float = DRIFT,
    ) -> Solution:
        """Solve one SPM.

        Args:
            pairs: target prompts, each with the prompt that should be drawn in its stead.
            names_concept: tells the anchors that name the concept themselves; they are left out.
            rank: of each membrane, >= 1.
            alpha: scale numerator of each membrane, > 0.
            eta: how far to push beyond the surrogate, away from the target, >= 0.
            drift: the budget, relative change of the anchors' keys and values, > 0.

        Raises:
            TrainingError: no pairs, the targets read like their surrogates, or the budget cannot be kept.
        """
        if not pairs:
            raise TrainingError("there is no target to erase", hint="list at least one prompt under `targets`")
        ours, theirs = (self._read(prompts) for prompts in zip(*pairs, strict=True))
        for prompts, readings in zip(zip(*pairs, strict=True), (ours, theirs), strict=True):
            refuse_truncated(prompts, readings)
        x = torch.cat([reading.states for reading in ours]).cpu().double()
        y = torch.cat([_stand_ins(own, other) for own, other in zip(ours, theirs, strict=True)]).cpu().double()
        wanted = (1 + eta) * (y - x)
        if not wanted.any():
            raise TrainingError(
                f"the base reads {pairs[0][0]!r} and its surrogate {pairs[0][1]!r} alike",
                hint="choose another surrogate, or other words for the target",
            )
        anchors, nearest = self._kept(ours, names_concept)
        rows = len(x)
        problem = Regression(self._weights, x.T @ x / rows, wanted.T @ x / rows, wanted.T @ wanted / rows, anchors)
        fit = within_budget(problem, rank, drift)
        if fit.drift > drift:
            raise TrainingError(
                f"no anchoring weight keeps the drift within {drift:g}: it is {fit.drift:.3g} at the greatest",
                hint="raise `drift`",
            )
        return Solution(self._membranes(fit, rank, alpha), fit.weight, fit.drift, fit.reached, nearest)

    def nearest(self, targets: Sequence[str], among: Sequence[str], count: int) -> list[str]:
        """The `count` prompts nearest to any of the targets, nearest first."""
        if not self._anchors or not among:
            return list(among[:count])
        directions = self._directions_of(self._read(among))
        similarity = (directions @ self._directions_of(self._read(targets)).T).amax(1)
        return [among[index] for index in similarity.argsort(descending=True, stable=True)[:count].tolist()]

    def _directions_of(self, readings: Sequence[TextReading]) -> torch.Tensor:
        """Where texts lie from the vocabulary's middle: a large part of every text's state is the same for all."""
        return F.normalize(torch.stack([_end(reading) for reading in readings]) - self._centre, dim=-1)

    def _kept(
        self, targets: Sequence[TextReading], names_concept: Callable[[str], bool]
    ) -> tuple[torch.Tensor, tuple[str, ...]]:
        """E[a a^T] over what must stay, and the nearest anchors."""
        named = [index for index, anchor in enumerate(self._anchors) if names_concept(anchor)]
        kept = len(self._anchors) - len(named)
        if not kept:
            return self._empty, ()
        gone = _moment([self._readings[self._anchors[index]] for index in named]) * len(named) if named else 0.0
        similarity = (self._directions @ self._directions_of(targets).T).amax(1)
        similarity[named] = -torch.inf
        order = similarity.argsort(descending=True, stable=True)[: min(_NEAREST, kept)].tolist()
        nearest = tuple(self._anchors[index] for index in order)
        moments = ((self._total - gone) / kept, _moment([self._readings[anchor] for anchor in nearest]), self._empty)
        return torch.stack(moments).mean(0), nearest

    def _membranes(self, fit: Fit, rank: int, alpha: float) -> MembraneSet:
        membranes = MembraneSet(self._modules, rank=rank, alpha=alpha)
        with torch.no_grad():
            for (_, membrane), (left, right) in zip(membranes.items(), fit.factors, strict=True):
                # Both factors of one length, so that neither loses digits in half precision.
                balance = (left.norm(dim=0) / right.norm(dim=1).clamp(min=1e-30)).sqrt()
                membrane.down.copy_(right * balance[:, None])
                membrane.up.copy_(left / balance.clamp(min=1e-30) / membrane.scale)
        return membranes

    def _read(self, prompts: Sequence[str]) -> list[TextReading]:
        unread = [prompt for prompt in dict.fromkeys(prompts) if prompt not in self._readings]
        self._readings.update(zip(unread, read_all(self._base, unread), strict=True))
        return [self._readings[prompt] for prompt in prompts]


def _stand_ins(own: TextReading, other: TextReading) -> torch.Tensor:
    return other.states[align(own.tokens, other.tokens, len(own.states))]


def _moment(readings: Sequence[TextReading]) -> torch.Tensor:
    """E[a a^T] over all positions of all texts."""
    states = torch.cat([reading.states for reading in readings]).cpu().double()
    return states.T @ states / len(states)


def _end(reading: TextReading) -> torch.Tensor:
    """The state of the end of the text, which has read all of it."""
    return reading.states[min(1 + len(reading.tokens), len(reading.states) - 1)].cpu().double()
