"""The membrane: a rank-r update of one Linear or Conv2d, and the set of them that makes an SPM.

Source: arXiv 2312.16145, section 3.1: y = W x + gamma * (alpha / r) * up (down x). Invariants: `up` starts at zero, so
a fresh SPM changes nothing; membranes never own or alter the module they belong to.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn import functional as F

Target = nn.Linear | nn.Conv2d
Targets = Mapping[str, Target]
"""The modules that an SPM acts on, by their path inside the denoiser, e.g. `mid_block.attentions.0.proj_in`."""


class Membrane(nn.Module):
    """One rank-r update.

    For `Linear(in, out)`: `down` (r, in), `up` (out, r). For `Conv2d` with kernel k: `down` (r, in, k, k) with the
    target's stride and padding, `up` (out, r, 1, 1).

    Attributes:
        rank: r >= 1.
        alpha: scale numerator; the update is multiplied by alpha / r.
    """

    def __init__(self, target: Target, *, rank: int = 1, alpha: float = 1.0) -> None:
        super().__init__()
        self.rank, self.alpha = rank, alpha
        self.convolution = None if isinstance(target, nn.Linear) else _convolution_arguments(target)
        fan_in = tuple(target.weight.shape[1:])
        tail = () if self.convolution is None else (1, 1)
        self.down = nn.Parameter(torch.empty(rank, *fan_in))
        self.up = nn.Parameter(torch.zeros(target.weight.shape[0], rank, *tail))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    @property
    def scale(self) -> float:
        """alpha / r."""
        return self.alpha / self.rank

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The update (alpha / r) * up (down x) alone, without the gate."""
        if self.convolution is None:
            return F.linear(F.linear(x, self.down), self.up) * self.scale
        stride, padding, dilation = self.convolution
        return F.conv2d(F.conv2d(x, self.down, None, stride, padding, dilation), self.up) * self.scale

    def delta(self) -> torch.Tensor:
        """The same update as a weight, shaped like the target's: (alpha / r) * up @ down."""
        return (self.up.flatten(1) @ self.down.flatten(1)).reshape(-1, *self.down.shape[1:]) * self.scale


def _convolution_arguments(
    target: nn.Conv2d,
) -> tuple[tuple[int, ...], tuple[int, ...] | str, tuple[int, ...]]:
    return target.stride, target.padding, target.dilation


class MembraneSet(nn.Module):
    """All membranes of one SPM under training, one for each target module."""

    def __init__(self, targets: Targets, *, rank: int = 1, alpha: float = 1.0) -> None:
        super().__init__()
        self.names = tuple(targets)
        self.membranes = nn.ModuleList(Membrane(target, rank=rank, alpha=alpha) for target in targets.values())

    def items(self) -> Iterator[tuple[str, Membrane]]:
        """Module path and membrane, in the targets' order."""
        for name, membrane in zip(self.names, self.membranes, strict=True):
            if isinstance(membrane, Membrane):
                yield name, membrane

    @contextmanager
    def open(self, targets: Targets, *, gamma: float = 1.0) -> Iterator[None]:
        """Let the membranes act on their targets, differentiably, within the context.

        For training; drawing uses `composition.attach`, which costs nothing per step.
        """
        handles = [
            targets[name].register_forward_hook(
                lambda _module, inputs, output, membrane=membrane: output + gamma * membrane(inputs[0])
            )
            for name, membrane in self.items()
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
