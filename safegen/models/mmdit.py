"""The families of multimodal diffusion transformers, Stable Diffusion 3 and FLUX: flow matching, CLIP beside T5.

Sources: arXiv 2403.03206 (SD3); FLUX.1 as in its released code. Invariants: latents are (batch, channels, height,
width) for callers, whatever the transformer takes; time steps are whole numbers 0..1000 for callers, and stand for the
scheduler's own, which lie between them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from diffusers.pipelines.flux.pipeline_flux import calculate_shift
from torch import nn

from safegen.models.base import DrawRequest
from safegen.models.packing import pack, unpack
from safegen.models.pipeline import PipelineModel
from safegen.models.targets import mmdit_targets

_PATCH = 2  # latents that FLUX joins into one token, a side


class FlowModel(PipelineModel):
    """What the families share: their targets, and a flow-matching roll-out."""

    def __init__(self, pipeline: Any, *, digest: str) -> None:
        super().__init__(pipeline, digest=digest)
        self._rollout = FlowMatchEulerDiscreteScheduler.from_config(pipeline.scheduler.config)
        self._exact: dict[int, float] = {}

    @property
    def denoiser(self) -> nn.Module:
        """The transformer."""
        transformer: nn.Module = self.pipeline.transformer
        return transformer

    def _find_targets(self) -> dict[str, nn.Linear | nn.Conv2d]:
        return mmdit_targets(self.pipeline.transformer)

    @property
    def _latent_size(self) -> int:
        return self.size // int(self.pipeline.vae_scale_factor)

    @property
    def _pooled_width(self) -> int:
        return int(self.pipeline.transformer.config.pooled_projection_dim)

    def noise(self, count: int, generator: torch.Generator) -> torch.Tensor:
        """Latents of pure noise."""
        side = self._latent_size
        latents = torch.randn(count, self.pipeline.vae.config.latent_channels, side, side, generator=generator)
        return latents.to(self.device)

    def timesteps(self, steps: int) -> list[int]:
        """The time steps of a roll-out, rounded, noisiest first."""
        shift = {}
        config = self._rollout.config
        if config.use_dynamic_shifting:  # by the number of tokens that a picture has
            tokens = (self._latent_size // _PATCH) ** 2
            bounds = (config.base_image_seq_len, config.max_image_seq_len, config.base_shift, config.max_shift)
            shift["mu"] = calculate_shift(tokens, *bounds)
        # As the pipelines do: evenly spaced, before the schedule's own shift.
        even = [1 - step * (1 - 1 / steps) / max(steps - 1, 1) for step in range(steps)]
        self._rollout.set_timesteps(**(shift | {"sigmas": even} if shift else {"num_inference_steps": steps}))
        exact = [float(timestep) for timestep in self._rollout.timesteps]
        self._exact = {round(timestep): timestep for timestep in exact}
        return [round(timestep) for timestep in exact]

    def step(self, prediction: torch.Tensor, timestep: int, latents: torch.Tensor) -> torch.Tensor:
        """One Euler step along the flow."""
        stepped: torch.Tensor = self._rollout.step(prediction, self._exact[timestep], latents).prev_sample
        return stepped

    def _times(self, timestep: int, count: int) -> torch.Tensor:
        return torch.full((count,), self._exact.get(timestep, float(timestep)), device=self.device)


class StableDiffusion3(FlowModel):
    """A diffusers StableDiffusion3Pipeline as safegen's base model."""

    family = "sd3"

    def _readers(self) -> list[tuple[Any, Any]]:
        pipeline = self.pipeline
        return [(pipeline.tokenizer, pipeline.text_encoder), (pipeline.tokenizer_2, pipeline.text_encoder_2)]

    @torch.no_grad()
    def encode(self, texts: Sequence[str]) -> torch.Tensor:
        """The three encoders' states and the pooled text, packed (texts, rows, width)."""
        states, _, pooled, _ = self.pipeline.encode_prompt(
            list(texts), None, None, device=self.device, do_classifier_free_guidance=False
        )
        return pack(states.float(), pooled.float())

    def predict(self, latents: torch.Tensor, timestep: int, states: torch.Tensor) -> torch.Tensor:
        """The transformer's prediction: the flow's velocity."""
        states, pooled = unpack(states, self._pooled_width)
        prediction: torch.Tensor = self.pipeline.transformer(
            latents, states, pooled, self._times(timestep, len(latents))
        ).sample
        return prediction


class Flux(FlowModel):
    """A diffusers FluxPipeline as safegen's base model."""

    family = "flux"

    @property
    def size(self) -> int:
        """Side of the pictures that the model was trained on, in pixels."""
        return int(self.pipeline.default_sample_size * self.pipeline.vae_scale_factor)

    def _readers(self) -> list[tuple[Any, Any]]:
        return [(self.pipeline.tokenizer, self.pipeline.text_encoder)]

    def _guiding(self, request: DrawRequest) -> dict[str, Any]:
        """Guidance is an input of distilled models; a negative prompt needs both passes, in place of it."""
        if request.negative_prompt or not self.pipeline.transformer.config.guidance_embeds:
            negative = [request.negative_prompt] * len(request.seeds)
            return {"true_cfg_scale": request.guidance, "guidance_scale": 1.0, "negative_prompt": negative}
        return {"guidance_scale": request.guidance}

    @torch.no_grad()
    def encode(self, texts: Sequence[str]) -> torch.Tensor:
        """T5's states and CLIP's pooled text, packed (texts, rows, width)."""
        states, pooled, _ = self.pipeline.encode_prompt(list(texts), None, device=self.device)
        return pack(states.float(), pooled.float())

    def predict(self, latents: torch.Tensor, timestep: int, states: torch.Tensor) -> torch.Tensor:
        """The transformer's prediction: the flow's velocity, at embedded guidance 1 if it has such."""
        states, pooled = unpack(states, self._pooled_width)
        tokens, ids = _patches(latents)
        transformer = self.pipeline.transformer
        guidance = torch.ones(len(latents), device=latents.device) if transformer.config.guidance_embeds else None
        prediction: torch.Tensor = transformer(
            hidden_states=tokens,
            encoder_hidden_states=states,
            pooled_projections=pooled,
            timestep=self._times(timestep, len(latents)) / 1000,
            img_ids=ids.to(latents.device),
            txt_ids=torch.zeros(states.shape[1], 3, device=latents.device),
            guidance=guidance,
        ).sample
        return _unpatched(prediction, latents.shape)


def _patches(latents: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Latents as tokens (batch, rows * columns, channels * 4), and each token's place (rows * columns, 3)."""
    batch, channels, height, width = latents.shape
    rows, columns = height // _PATCH, width // _PATCH
    grid = latents.reshape(batch, channels, rows, _PATCH, columns, _PATCH).permute(0, 2, 4, 1, 3, 5)
    places = torch.cartesian_prod(torch.zeros(1), torch.arange(float(rows)), torch.arange(float(columns)))
    return grid.reshape(batch, rows * columns, -1), places


def _unpatched(tokens: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    batch, channels, height, width = shape
    grid = tokens.reshape(batch, height // _PATCH, width // _PATCH, channels, _PATCH, _PATCH)
    return grid.permute(0, 3, 1, 4, 2, 5).reshape(shape)
