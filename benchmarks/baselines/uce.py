"""Unified Concept Editing (Gandikota et al. 2024, arXiv 2308.14761, Eq. 7): cross-attention in closed form.

W = (sum_erase W_old c* c^T + sum_keep W_old c c^T + lambda W_old) (sum_erase c c^T + sum_keep c c^T + lambda I)^-1,
with c the states from the concept's last token on and c* those of the surrogate from its last token on; lambda .5,
scales 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from safegen.models.stable_diffusion import StableDiffusion

from .edited import cross_keys_and_values, keep

LAMBDA = 0.5


@torch.no_grad()
def solve_uce(base: StableDiffusion, pairs: Sequence[tuple[str, str]], kept: Sequence[str], path: Path) -> Path:
    """Solve and keep the edited projections."""
    old, new = _aligned(base, pairs)
    held = torch.cat([reading.states[1:] for reading in base.read(kept)])
    width = old.shape[1]
    ridge = LAMBDA * torch.eye(width)
    right = old.T @ old + held.T @ held + ridge
    left = new.T @ old + held.T @ held + ridge
    edit = torch.linalg.solve(right.T.double(), left.T.double()).T.float()
    layers = cross_keys_and_values(base.pipeline.unet)
    return keep({f"{name}.weight": layer.weight @ edit for name, layer in layers.items()}, path)


def _aligned(base: StableDiffusion, pairs: Sequence[tuple[str, str]]) -> tuple[torch.Tensor, torch.Tensor]:
    """States of targets and surrogates (rows, width), each from its concept's last token on, cut to equal length.

    What both prompts end with (", neon style") stands behind the concept; start and text tokens count one each.
    """
    olds, news = [], []
    for target, surrogate in pairs:
        one, other = base.read([target, surrogate])
        shared = 0
        for left, right in zip(reversed(one.tokens), reversed(other.tokens), strict=False):
            if left != right:
                break
            shared += 1
        first, second = max(1, len(one.tokens) - shared), max(1, len(other.tokens) - shared)
        room = min(len(one.states) - first, len(other.states) - second)
        olds.append(one.states[first : first + room])
        news.append(other.states[second : second + room])
    return torch.cat(olds), torch.cat(news)
