"""What whoever holds a model's weights can do: read altered token embeddings, draw from text states, noise pictures.

For measuring attacks and baselines; nothing that serves a request comes here. Invariant: the model's weights are never
altered, and everything but `pictures` lets gradients through to its arguments.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image as PillowImage

if TYPE_CHECKING:
    from PIL.Image import Image

    from safegen.models.stable_diffusion import StableDiffusion


class WhiteBox:
    """A model of the Stable Diffusion 1.x family, opened up."""

    def __init__(self, base: StableDiffusion) -> None:
        self.base = base
        pipeline = base.pipeline
        self._vae, self._encoder, self._tokenizer = pipeline.vae, pipeline.text_encoder, pipeline.tokenizer
        self._schedule = pipeline.scheduler
        # Weights belong to the defender: gradients are for what the attacker varies, not for them.
        for part in (self._vae, self._encoder):
            part.eval().requires_grad_(requires_grad=False)

    @property
    def steps(self) -> int:
        """Number of time steps that the model was trained on."""
        return int(self._schedule.config.num_train_timesteps)

    def latents(self, pictures: Sequence[Image]) -> torch.Tensor:
        """Pictures as latents (n, channels, height, width), scaled as the denoiser sees them."""
        pixels = np.stack([np.asarray(picture.convert("RGB"), dtype=np.float32) for picture in pictures])
        with torch.no_grad():
            encoded = self._vae.encode(torch.from_numpy(pixels).permute(0, 3, 1, 2) / 127.5 - 1).latent_dist.mode()
        config = self._vae.config
        shifted: torch.Tensor = (encoded - (getattr(config, "shift_factor", None) or 0.0)) * config.scaling_factor
        return shifted

    @torch.no_grad()
    def pictures(self, latents: torch.Tensor) -> list[Image]:
        """Latents as pictures."""
        config = self._vae.config
        raw = latents / config.scaling_factor + (getattr(config, "shift_factor", None) or 0.0)
        decoded = (self._vae.decode(raw).sample / 2 + 0.5).clamp(0, 1).mul(255).round().byte()
        return [PillowImage.fromarray(picture) for picture in decoded.permute(0, 2, 3, 1).numpy()]

    def noised(
        self, latents: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Latents at their time steps (n,), and what the denoiser was trained to predict there (epsilon or v)."""
        noisy = self._schedule.add_noise(latents, noise, timesteps)
        if self._schedule.config.prediction_type == "v_prediction":
            return noisy, self._schedule.get_velocity(latents, noise, timesteps)
        return noisy, noise

    def predict(self, latents: torch.Tensor, timesteps: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
        """The denoiser's prediction, each row at its own time step."""
        unet: Any = self.base.pipeline.unet
        prediction: torch.Tensor = unet(latents.contiguous(memory_format=torch.channels_last), timesteps, states).sample
        return prediction

    @property
    def table(self) -> torch.Tensor:
        """The embedding of every token, (tokens, width)."""
        weight: torch.Tensor = self._encoder.get_input_embeddings().weight
        return weight

    def ids(self, texts: Sequence[str]) -> torch.Tensor:
        """Token ids (n, tokens), with start, end and padding."""
        found: torch.Tensor = self._tokenizer(
            list(texts),
            padding="max_length",
            max_length=self._tokenizer.model_max_length,
            truncation=True,
            return_tensors="pt",
        ).input_ids
        return found

    def text(self, ids: Sequence[int]) -> str:
        """Tokens as a text; a text does not always read back to the tokens that it came from."""
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=True))

    @property
    def special(self) -> frozenset[int]:
        """Ids that stand for no text."""
        return frozenset(self._tokenizer.all_special_ids)

    def read(self, ids: torch.Tensor, embeddings: torch.Tensor | None = None) -> torch.Tensor:
        """States (n, tokens, width) of token ids, whose embeddings (n, tokens, width) may be replaced."""
        if embeddings is None:
            states: torch.Tensor = self._encoder(input_ids=ids).last_hidden_state
            return states
        handle = self._encoder.get_input_embeddings().register_forward_hook(lambda *_: embeddings)
        try:
            states = self._encoder(input_ids=ids).last_hidden_state
        finally:
            handle.remove()
        return states

    @torch.no_grad()
    def draw(self, states: torch.Tensor, seeds: Sequence[int], *, steps: int, guidance: float) -> list[Image]:
        """Draw from text states (n, tokens, width), one seed a picture, with whatever is attached to the denoiser."""
        empty = self.base.encode([""]).expand_as(states)
        noises = [self.base.noise(1, torch.Generator().manual_seed(seed)) for seed in seeds]
        latents = torch.cat(noises)
        for timestep in self.base.timesteps(steps):
            both = self.base.predict(torch.cat([latents, latents]), timestep, torch.cat([empty, states]))
            bare, conditional = both.chunk(2)
            latents = self.base.step(bare + guidance * (conditional - bare), timestep, latents)
        return self.pictures(latents)
