"""Safe Latent Diffusion (Schramowski et al. 2023, arXiv 2211.05105, Eq. 3-8), configuration Max; no training.

Their safety concept is replaced by the concept to erase. The equations speak of epsilon; at one (x_t, t) differences of
velocities are differences of epsilons over sqrt(alpha_bar), so thresholds are compared after that factor. Warm-up of 0
steps, scale 5000, threshold 1, momentum .5 and .7 are theirs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from safegen.models import DrawRequest
from safegen.models.stable_diffusion import StableDiffusion
from safegen.models.white_box import WhiteBox

SCALE, THRESHOLD, MOMENTUM_SCALE, MOMENTUM, WARM_UP = 5000.0, 1.0, 0.5, 0.7, 0


class SafeLatentDiffusion:
    """The base model with safety guidance."""

    name = "SLD-Max"

    def __init__(self, base: StableDiffusion, concept: str) -> None:
        self._base, self._box, self._concept = base, WhiteBox(base), concept

    def states(self, prompts: Sequence[str]) -> list[str]:
        """The same for every prompt."""
        return [f"sld-max:{self._concept}"] * len(prompts)

    @torch.no_grad()
    def draw(self, state: str, request: DrawRequest) -> Any:  # noqa: ARG002 - there is one state
        """Denoise with the third branch."""
        base, count = self._base, len(request.prompts)
        texts = base.encode([*request.prompts, "", self._concept])
        empty, unsafe = (row[None].expand(count, -1, -1) for row in texts[count:])
        latents = torch.cat([base.noise(1, torch.Generator().manual_seed(seed)) for seed in request.seeds])
        momentum = torch.zeros_like(latents)
        signal = base.pipeline.scheduler.alphas_cumprod
        velocity = base.pipeline.scheduler.config.prediction_type == "v_prediction"
        for number, timestep in enumerate(base.timesteps(request.steps)):
            states = torch.cat([empty, texts[:count], unsafe])
            free, text, safe = base.predict(latents.repeat(3, 1, 1, 1), timestep, states).chunk(3)
            factor = float(signal[timestep]) ** 0.5 if velocity else 1.0
            towards = (text - safe) * factor
            scale = (towards.abs() * SCALE).clamp(max=1.0)
            scale = torch.where(towards >= THRESHOLD, torch.zeros_like(scale), scale)
            safety = (safe - free) * scale + MOMENTUM_SCALE * momentum
            momentum = MOMENTUM * momentum + (1 - MOMENTUM) * safety
            guidance = text - free - (safety if number >= WARM_UP else 0)
            latents = base.step(free + request.guidance * guidance, timestep, latents)
        return self._box.pictures(latents)
