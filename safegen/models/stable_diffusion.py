"""The Stable Diffusion 1.x family: one text encoder, a UNet with Transformer2DModel blocks, an autoencoder.

Invariants: weights are kept as float32; pictures are a function of (weights, request) and nothing else; the pipeline's
own safety checker is off, since policies decide here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import DDIMScheduler
from torch import nn

from safegen.errors import ModelError
from safegen.models.base import Drawing, DrawRequest, TextReading

FAMILY = "sd1"


class StableDiffusion:
    """A diffusers StableDiffusionPipeline as safegen's base model."""

    def __init__(self, pipeline: Any, *, digest: str) -> None:
        self.pipeline = pipeline
        self.digest = digest
        self.family = FAMILY
        self._targets = unet_targets(pipeline.unet)
        self._rollout = DDIMScheduler.from_config(pipeline.scheduler.config)

    @classmethod
    def load(cls, folder: Path, *, digest: str) -> StableDiffusion:
        """Load from a folder.

        Raises:
            ModelError: a part is missing or damaged.
        """
        from diffusers import StableDiffusionPipeline
        from diffusers.utils import logging as diffusers_logging
        from transformers.utils import logging as transformers_logging

        diffusers_logging.disable_progress_bar()
        transformers_logging.disable_progress_bar()
        try:
            pipeline = StableDiffusionPipeline.from_pretrained(
                folder,
                dtype=torch.float32,
                local_files_only=True,
                use_safetensors=True,
                safety_checker=None,
                low_cpu_mem_usage=False,
            )
        except Exception as error:
            raise ModelError(f"the base model cannot be loaded: {error}", where=str(folder)) from error
        pipeline.set_progress_bar_config(disable=True)
        pipeline.unet.eval().requires_grad_(requires_grad=False)
        pipeline.unet.to(memory_format=torch.channels_last)
        return cls(pipeline, digest=digest)

    def targets(self) -> Mapping[str, nn.Linear | nn.Conv2d]:
        """All Linear and Conv2d inside Transformer2DModel blocks, by path inside the UNet."""
        return self._targets

    def read(self, texts: Sequence[str]) -> list[TextReading]:
        """Encode texts, one row of states each."""
        tokenizer = self.pipeline.tokenizer
        ids = tokenizer(
            list(texts),
            padding="max_length",
            max_length=tokenizer.model_max_length,
            truncation=True,
            return_tensors="pt",
        ).input_ids
        with torch.no_grad():
            states = self.pipeline.text_encoder(input_ids=ids).last_hidden_state.float()
        plain = [tuple(tokenizer(text, add_special_tokens=False).input_ids) for text in texts]
        room = tokenizer.model_max_length - 2
        return [
            TextReading(states=row, tokens=tokens[:room], truncated=len(tokens) > room)
            for row, tokens in zip(states, plain, strict=True)
        ]

    def draw(self, request: DrawRequest, *, progress: Callable[[int, int], None] | None = None) -> Drawing:
        """Draw the request's images, one generator a seed."""
        generators = [torch.Generator().manual_seed(seed) for seed in request.seeds]

        def step_done(_pipeline: Any, step: int, _timestep: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
            if progress:
                progress(step + 1, request.steps)
            return kwargs

        try:
            result = self.pipeline(
                list(request.prompts),
                negative_prompt=[request.negative_prompt] * len(request.seeds) if request.negative_prompt else None,
                width=request.width,
                height=request.height,
                num_inference_steps=request.steps,
                guidance_scale=request.guidance,
                generator=generators,
                callback_on_step_end=step_done,
                output_type="pil",
            )
        except (RuntimeError, ValueError) as error:
            raise ModelError(f"the base model failed while drawing: {error}") from error
        return Drawing(images=tuple(result.images))

    @property
    def size(self) -> int:
        """Side of the pictures that the model was trained on, in pixels."""
        return int(self.pipeline.unet.config.sample_size * self.pipeline.vae_scale_factor)

    def encode(self, texts: Sequence[str]) -> torch.Tensor:
        """Last hidden states (texts, tokens, width)."""
        return torch.stack([reading.states for reading in self.read(texts)])

    def noise(self, count: int, generator: torch.Generator) -> torch.Tensor:
        """Latents of pure noise."""
        unet = self.pipeline.unet.config
        latents = torch.randn(count, unet.in_channels, unet.sample_size, unet.sample_size, generator=generator)
        scaled: torch.Tensor = latents * self._rollout.init_noise_sigma
        return scaled

    def timesteps(self, steps: int) -> list[int]:
        """The time steps of a DDIM roll-out, noisiest first."""
        self._rollout.set_timesteps(steps)
        return [int(timestep) for timestep in self._rollout.timesteps]

    def predict(self, latents: torch.Tensor, timestep: int, states: torch.Tensor) -> torch.Tensor:
        """The UNet's prediction."""
        prediction: torch.Tensor = self.pipeline.unet(
            latents.contiguous(memory_format=torch.channels_last), timestep, states
        ).sample
        return prediction

    def step(self, prediction: torch.Tensor, timestep: int, latents: torch.Tensor) -> torch.Tensor:
        """One DDIM step."""
        stepped: torch.Tensor = self._rollout.step(prediction, timestep, latents).prev_sample
        return stepped


def unet_targets(unet: nn.Module) -> dict[str, nn.Linear | nn.Conv2d]:
    """Linear and Conv2d modules inside Transformer2DModel blocks, by path, in the model's order.

    For Stable Diffusion 1.4 these are the 192 modules of arXiv 2312.16145.
    """
    from diffusers.models.transformers.transformer_2d import Transformer2DModel

    found: dict[str, nn.Linear | nn.Conv2d] = {}
    for path, block in unet.named_modules():
        if isinstance(block, Transformer2DModel):
            for inner, module in block.named_modules():
                if isinstance(module, nn.Linear | nn.Conv2d):
                    found[f"{path}.{inner}"] = module
    return found
