"""Erased Stable Diffusion (Gandikota et al. 2023, arXiv 2303.07345, Eq. 7): ESD-x edits cross-attention, -u the rest.

L = || e_edited(x_t, c, t) - (e(x_t, t) - eta (e(x_t, c, t) - e(x_t, t))) ||^2, x_t partly denoised by the edited model
under c at guidance 3, eta 1, Adam. Their 1,000 updates at 1e-5 fit a model of 860 M; here the number of updates is the
budget that all trained methods share, and the rate fits the small base.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from torch.nn import functional as F

from safegen.models.stable_diffusion import StableDiffusion
from safegen.training.recipe import Rollout
from safegen.training.rollout import roll_out

from .edited import cross_attention, generator, keep, student

ETA = 1.0
RATES = {"x": 2e-4, "u": 2e-5}


def train_esd(
    base: StableDiffusion,
    prompts: Sequence[str],
    path: Path,
    *,
    which: Literal["x", "u"],
    updates: int,
    batch: int = 4,
    seed: int = 0,
) -> Path:
    """Train and keep the edited parameters."""
    texts, empty = base.encode(prompts), base.encode([""])
    original = base.pipeline.unet
    with student(base) as unet:
        chosen = {name: p for name, p in unet.named_parameters() if cross_attention(name) == (which == "x")}
        for parameter in chosen.values():
            parameter.requires_grad_(requires_grad=True)
        optimiser = torch.optim.Adam(chosen.values(), RATES[which])
        settings, states = Rollout(), {}
        for step in range(updates):
            source = generator(seed, step)
            if step % settings.uses == 0:
                rows = torch.randint(0, len(texts), (batch,), generator=source)
                wanted = torch.randperm(settings.steps, generator=source)[: settings.uses].tolist()
                states = roll_out(base, texts[rows], empty, settings, source, wanted)
            timestep, latents = states[wanted[step % settings.uses]]
            with torch.no_grad():
                both = torch.cat([empty.expand_as(texts[rows]), texts[rows]])
                free, named = original(latents.repeat(2, 1, 1, 1), timestep, both).sample.chunk(2)
            erased = base.predict(latents, timestep, texts[rows])
            optimiser.zero_grad(set_to_none=True)
            F.mse_loss(erased, free - ETA * (named - free)).backward()
            optimiser.step()
        return keep(dict(chosen), path)
