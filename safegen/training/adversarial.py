"""Attacks on the membranes under training: text states, moved so that open membranes let the target through.

Erasing is then trained on what the attack found, so that what lies near the target is erased with it.
Source: arXiv 2405.15234, which trains all of a text encoder so; here it is the membranes alone that learn, and what is
moved are the states that the denoiser reads, so that a radius means the same for every family. Invariants: no weight
and no gradient of a weight is touched; the same generator gives the same attack, bit for bit on one machine.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from safegen.training.recipe import Adversarial

_STRIDE = 1.5
"""How far all steps together could go, in radii, so that the border is reached from anywhere inside."""


def attack(
    predict: Callable[[torch.Tensor], torch.Tensor],
    states: torch.Tensor,
    wanted: torch.Tensor,
    settings: Adversarial,
    generator: torch.Generator,
) -> torch.Tensor:
    """Move the first rows of states towards what gives the wanted predictions; the other rows stay as they are.

    Projected gradient descent on the mean square between prediction and wanted, from a random start, in steps of equal
    length for each token.

    Args:
        predict: text states (rows, tokens, width) to predictions, with the membranes open, for the first rows alone.
        states: (batch, tokens, width) of the targets.
        wanted: (batch, ...) the bare model's predictions for the targets.
        settings: steps, radius and share.
        generator: of the random start, on the CPU.

    Returns:
        (batch, tokens, width), without gradient.
    """
    rows = attacked_rows(len(states), settings.share)
    begun = states[:rows].detach()
    reach = settings.radius * begun.norm(dim=-1, keepdim=True)
    noise = torch.randn(begun.shape, generator=generator).to(begun)
    moved = _within(noise, reach / 2)
    for _ in range(settings.steps):
        moved.requires_grad_()
        loss = (predict(begun + moved) - wanted[:rows]).square().mean()
        (slope,) = torch.autograd.grad(loss, moved)
        step = slope / slope.norm(dim=-1, keepdim=True).clamp(min=1e-30)
        moved = _within(moved.detach() - _STRIDE / settings.steps * reach * step, reach)
    return torch.cat([begun + moved, states[rows:]])


def attacked_rows(batch: int, share: float) -> int:
    """How many rows of a batch are attacked: its share, rounded up, so that there is at least one."""
    return math.ceil(batch * share)


def _within(moved: torch.Tensor, reach: torch.Tensor) -> torch.Tensor:
    """The same directions, each at most `reach` long."""
    shrunk: torch.Tensor = moved * (reach / moved.norm(dim=-1, keepdim=True).clamp(min=1e-30)).clamp(max=1.0)
    return shrunk
