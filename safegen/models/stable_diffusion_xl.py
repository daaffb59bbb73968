"""The Stable Diffusion XL family: two text encoders side by side, and a pooled text and the picture's size beside them.

Source: arXiv 2307.01952, sections 2.1 and 2.2 (size and crop conditioning).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch

from safegen.models.packing import pack, unpack
from safegen.models.stable_diffusion import UNetModel


class StableDiffusionXL(UNetModel):
    """A diffusers StableDiffusionXLPipeline as safegen's base model."""

    family = "sdxl"
    parts: ClassVar[dict[str, object]] = {"add_watermarker": False}

    def _readers(self) -> list[tuple[Any, Any]]:
        pipeline = self.pipeline
        return [(pipeline.tokenizer, pipeline.text_encoder), (pipeline.tokenizer_2, pipeline.text_encoder_2)]

    @torch.no_grad()
    def _clip_states(self, encoder: Any, ids: torch.Tensor) -> torch.Tensor:
        # The UNet reads the layer before the last.
        layers = encoder(input_ids=ids.to(self.device), output_hidden_states=True).hidden_states
        states: torch.Tensor = layers[-2].float()
        return states

    @torch.no_grad()
    def encode(self, texts: Sequence[str]) -> torch.Tensor:
        """Both encoders' states and the pooled text, packed (texts, rows, width)."""
        states, _, pooled, _ = self.pipeline.encode_prompt(
            list(texts), device=self.device, num_images_per_prompt=1, do_classifier_free_guidance=False
        )
        return pack(states.float(), pooled.float())

    def predict(self, latents: torch.Tensor, timestep: int, states: torch.Tensor) -> torch.Tensor:
        """The UNet's prediction for an uncropped picture of the latents' own size."""
        states, pooled = unpack(states, self.pipeline.text_encoder_2.config.projection_dim)
        height, width = (int(side) * self.pipeline.vae_scale_factor for side in latents.shape[-2:])
        sizes = torch.tensor([height, width, 0, 0, height, width], dtype=latents.dtype, device=latents.device)
        prediction: torch.Tensor = self.pipeline.unet(
            latents.contiguous(memory_format=torch.channels_last),
            timestep,
            states,
            added_cond_kwargs={"text_embeds": pooled, "time_ids": sizes.expand(len(latents), -1)},
        ).sample
        return prediction
