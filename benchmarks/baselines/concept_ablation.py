"""Concept Ablation (Kumari et al. 2023, arXiv 2303.13516, Eq. 5), model-based, keys and values of cross-attention.

L = || e_edited(x_t, target, t) - sg e_edited(x_t, anchor, t) ||^2 on noised pictures that the model drew for the anchor
prompts; anchor prompts are the target prompts with the anchor concept in the target's place.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch.nn import functional as F

from safegen.models.stable_diffusion import StableDiffusion
from safegen.models.white_box import WhiteBox

from .edited import cross_keys_and_values, generator, keep, student

RATE = 2e-4


def train_concept_ablation(
    base: StableDiffusion,
    pairs: Sequence[tuple[str, str]],
    latents: torch.Tensor,
    owners: Sequence[int],
    path: Path,
    *,
    updates: int,
    batch: int = 4,
    seed: int = 0,
) -> Path:
    """Train and keep the edited parameters.

    Args:
        base: the model.
        pairs: target prompt and anchor prompt.
        latents: pictures that the base drew for anchor prompts.
        owners: the pair that each of them was drawn for.
        path: where to keep the result.
        updates: number of them.
        batch: pictures in one.
        seed: of all choices.
    """
    box = WhiteBox(base)
    targets, anchors = base.encode([pair[0] for pair in pairs]), base.encode([pair[1] for pair in pairs])
    with student(base) as unet:
        layers = cross_keys_and_values(unet)
        chosen = {f"{name}.weight": layer.weight for name, layer in layers.items()}
        for parameter in chosen.values():
            parameter.requires_grad_(requires_grad=True)
        optimiser = torch.optim.Adam(chosen.values(), RATE)
        owner = torch.tensor(owners)
        for step in range(updates):
            source = generator(seed, step)
            rows = torch.randint(0, len(latents), (batch,), generator=source)
            timesteps = torch.randint(0, box.steps, (batch,), generator=source)
            noise = torch.randn(latents[rows].shape, generator=source)
            noisy, _ = box.noised(latents[rows], noise, timesteps)
            with torch.no_grad():
                wanted = box.predict(noisy, timesteps, anchors[owner[rows]])
            made = box.predict(noisy, timesteps, targets[owner[rows]])
            optimiser.zero_grad(set_to_none=True)
            F.mse_loss(made, wanted).backward()
            optimiser.step()
        return keep(dict(chosen), path)
