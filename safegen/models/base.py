"""What the rest of safegen asks of a base model, whatever its family.

Invariant: nothing outside this folder knows diffusers; a base model is drawn with, read with, and trained on through
this protocol alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image
    from torch import nn


@dataclass(frozen=True, slots=True)
class DrawRequest:
    """What to draw.

    Attributes:
        prompts: one for each image.
        seeds: one for each image; an image's noise is a function of its own seed, whatever stands beside it.
        negative_prompt: what to steer away from; empty for nothing.
        width: in pixels.
        height: in pixels.
        steps: denoising steps.
        guidance: scale of classifier-free guidance; 1 switches it off.
    """

    prompts: tuple[str, ...]
    seeds: tuple[int, ...]
    negative_prompt: str = ""
    width: int = 64
    height: int = 64
    steps: int = 20
    guidance: float = 3.0


@dataclass(frozen=True, slots=True)
class Drawing:
    """Finished images, in the order of the request's seeds."""

    images: tuple[Image, ...]


@dataclass(frozen=True)
class TextReading:
    """A text as the base's text encoder reads it.

    Attributes:
        states: (positions, width) float32 on the CPU, the last hidden states, with the padding that was asked for.
        tokens: ids without start, end and padding.
        truncated: whether the text was longer than the encoder reads.
    """

    states: torch.Tensor
    tokens: tuple[int, ...]
    truncated: bool


class BaseModel(Protocol):
    """A text-to-image model that SPMs can attach to."""

    @property
    def family(self) -> str:
        """Name of the family; adapters attach within one family."""

    @property
    def digest(self) -> str:
        """`sha256:<hex>` over the model's files."""

    @property
    def encoder_digest(self) -> str:
        """`sha256:<hex>` over the text encoder that `read` uses, and its tokenizer."""

    @property
    def vocabulary_file(self) -> Path | None:
        """A list of the words that the model knows, in the format of the sticker base's `world.yaml`; None without."""

    def targets(self) -> Mapping[str, nn.Linear | nn.Conv2d]:
        """The modules that SPMs act on, by path inside the denoiser."""

    def read(self, texts: Sequence[str], *, padding: bool = True) -> list[TextReading]:
        """Encode texts.

        Args:
            texts: what to encode.
            padding: False for rows that end with the longest text's end, several times faster for short texts. The
                encoders are causal, so what stands before the padding differs by rounding alone.
        """

    def draw(self, request: DrawRequest, *, progress: Callable[[int, int], None] | None = None) -> Drawing:
        """Draw the request's images.

        Args:
            request: what to draw.
            progress: called with (step done, steps in all).

        Raises:
            ModelError: the model failed.
        """


class TrainableModel(BaseModel, Protocol):
    """A base model that SPMs can be trained on: its denoiser, one step at a time, on latents."""

    @property
    def size(self) -> int:
        """Side of the pictures that the model was trained on, in pixels."""

    def encode(self, texts: Sequence[str]) -> torch.Tensor:
        """Last hidden states (texts, tokens, width), float32, on the denoiser's device."""

    def noise(self, count: int, generator: torch.Generator) -> torch.Tensor:
        """Latents of pure noise (count, channels, height, width), scaled as the first step expects them.

        The generator is one of the CPU; the latents lie on the denoiser's device.
        """

    def timesteps(self, steps: int) -> list[int]:
        """The time steps of a roll-out of that many steps, noisiest first."""

    def predict(self, latents: torch.Tensor, timestep: int, states: torch.Tensor) -> torch.Tensor:
        """The denoiser's prediction, in whatever parametrisation the model was trained (epsilon or v)."""

    def step(self, prediction: torch.Tensor, timestep: int, latents: torch.Tensor) -> torch.Tensor:
        """One step of the roll-out whose `timesteps` were asked for last."""
