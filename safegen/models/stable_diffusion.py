"""The Stable Diffusion 1.x and 2.x families: one text encoder, a UNet, an autoencoder.

Version 2.x has linear projections where 1.x has convolutions, and mostly predicts v instead of epsilon.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from diffusers import DDIMScheduler
from torch import nn

from safegen.models.pipeline import PipelineModel, token_ids
from safegen.models.targets import unet_targets


class UNetModel(PipelineModel):
    """What the families with a UNet share: their targets, and a DDIM roll-out."""

    def __init__(self, pipeline: Any, *, digest: str) -> None:
        super().__init__(pipeline, digest=digest)
        # The conversion changes no weight's values, and convolutions on the CPU run faster on it.
        pipeline.unet.to(memory_format=torch.channels_last)
        self._rollout = DDIMScheduler.from_config(pipeline.scheduler.config)

    @property
    def denoiser(self) -> nn.Module:
        """The UNet."""
        unet: nn.Module = self.pipeline.unet
        return unet

    def _find_targets(self) -> dict[str, nn.Linear | nn.Conv2d]:
        return unet_targets(self.pipeline.unet)

    def noise(self, count: int, generator: torch.Generator) -> torch.Tensor:
        """Latents of pure noise."""
        unet = self.pipeline.unet.config
        latents = torch.randn(count, unet.in_channels, unet.sample_size, unet.sample_size, generator=generator)
        scaled: torch.Tensor = latents.to(self.device) * self._rollout.init_noise_sigma
        return scaled

    def timesteps(self, steps: int) -> list[int]:
        """The time steps of a DDIM roll-out, noisiest first."""
        self._rollout.set_timesteps(steps)
        return [int(timestep) for timestep in self._rollout.timesteps]

    def step(self, prediction: torch.Tensor, timestep: int, latents: torch.Tensor) -> torch.Tensor:
        """One DDIM step."""
        stepped: torch.Tensor = self._rollout.step(prediction, timestep, latents).prev_sample
        return stepped


class StableDiffusion(UNetModel):
    """A diffusers StableDiffusionPipeline as safegen's base model."""

    parts: ClassVar[dict[str, object]] = {"safety_checker": None}

    def __init__(self, pipeline: Any, *, digest: str) -> None:
        super().__init__(pipeline, digest=digest)
        projections = [module for path, module in self._targets.items() if path.endswith(".proj_in")]
        self.family = "sd2" if all(isinstance(module, nn.Linear) for module in projections) else "sd1"

    def _readers(self) -> list[tuple[Any, Any]]:
        return [(self.pipeline.tokenizer, self.pipeline.text_encoder)]

    def encode(self, texts: Sequence[str]) -> torch.Tensor:
        """Last hidden states (texts, tokens, width)."""
        tokenizer, encoder = self._readers()[0]
        return self._clip_states(encoder, token_ids(tokenizer, texts))

    def predict(self, latents: torch.Tensor, timestep: int, states: torch.Tensor) -> torch.Tensor:
        """The UNet's prediction, epsilon or v as it was trained."""
        prediction: torch.Tensor = self.pipeline.unet(
            latents.contiguous(memory_format=torch.channels_last), timestep, states
        ).sample
        return prediction
