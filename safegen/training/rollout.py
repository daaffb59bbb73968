"""Noisy latents for training: the target concept partly denoised, by the model that is being erased.

Invariant: no gradient; one roll-out gives one state a time step, so several updates can be taken from it; it stops at
the last state that is wanted.
"""

from __future__ import annotations

from collections.abc import Collection

import torch

from safegen.models import TrainableModel
from safegen.training.recipe import Rollout


@torch.no_grad()
def roll_out(
    model: TrainableModel,
    states: torch.Tensor,
    empty: torch.Tensor,
    settings: Rollout,
    generator: torch.Generator,
    wanted: Collection[int],
) -> dict[int, tuple[int, torch.Tensor]]:
    """Denoise a batch of prompts under classifier-free guidance, as far as needed.

    Args:
        model: the base model, with whatever membranes are open on it.
        states: (batch, tokens, width) of the prompts.
        empty: (1, tokens, width) of the empty prompt.
        settings: steps and guidance.
        generator: of the noise.
        wanted: the numbers of the steps whose states are kept, each in 0..steps-1.

    Returns:
        Step number to (time step, latents (batch, channels, height, width) before that step).

    Source: arXiv 2312.16145, released code: x_t is rolled out with the SPM on, at a random number of steps.
    """
    latents = model.noise(len(states), generator)
    both = torch.cat([empty.expand_as(states), states])
    kept: dict[int, tuple[int, torch.Tensor]] = {}
    for number, timestep in enumerate(model.timesteps(settings.steps)):
        if number in wanted:
            kept[number] = (timestep, latents)
        if len(kept) == len(wanted):
            break
        bare, conditional = model.predict(torch.cat([latents, latents]), timestep, both).chunk(2)
        latents = model.step(bare + settings.guidance * (conditional - bare), timestep, latents)
    return kept
