"""Noisy latents for training: the target concept partly denoised, by the erased model itself.

Invariant: no gradient; one roll-out gives one state a time step, so several updates can be taken from it.
"""

from __future__ import annotations

import torch

from safegen.models import TrainableModel
from safegen.training.recipe import Rollout


@torch.no_grad()
def roll_out(
    model: TrainableModel, states: torch.Tensor, empty: torch.Tensor, settings: Rollout, generator: torch.Generator
) -> list[tuple[int, torch.Tensor]]:
    """Denoise a batch of prompts under classifier-free guidance.

    Args:
        model: the base model, with whatever membranes are open on it.
        states: (batch, tokens, width) of the prompts.
        empty: (1, tokens, width) of the empty prompt.
        settings: steps and guidance.
        generator: of the noise.

    Returns:
        (time step, latents before that step), noisiest first.
    """
    latents = model.noise(len(states), generator)
    both = torch.cat([empty.expand_as(states), states])
    trajectory = []
    for timestep in model.timesteps(settings.steps):
        trajectory.append((timestep, latents))
        bare, conditional = model.predict(torch.cat([latents, latents]), timestep, both).chunk(2)
        latents = model.step(bare + settings.guidance * (conditional - bare), timestep, latents)
    return trajectory
