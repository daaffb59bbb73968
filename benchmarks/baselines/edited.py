"""What methods that change the model's own weights share: the changed weights, in a file, and drawing with them."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from safegen.data import file_digest
from safegen.models import BaseModel, DrawRequest
from safegen.models.stable_diffusion import StableDiffusion

Weights = dict[str, torch.Tensor]
_BETWEEN = ".attn2."


class EditedWeights:
    """The base model with some of its denoiser's parameters replaced while it draws."""

    def __init__(self, name: str, base: StableDiffusion, path: Path) -> None:
        self.name = name
        self._base, self._weights, self._state = base, load_file(path), f"{name}:{file_digest(path)}"

    def states(self, prompts: Sequence[str]) -> list[str]:
        """The same for every prompt: weights know no gate."""
        return [self._state] * len(prompts)

    def draw(self, state: str, request: DrawRequest) -> Any:  # noqa: ARG002 - there is one state
        """Draw with the changed weights."""
        with self.attached():
            return self._base.draw(request).images

    @contextmanager
    def attached(self) -> Iterator[None]:
        """The changed weights in place, the old ones back afterwards."""
        parameters = dict(self._base.pipeline.unet.named_parameters())
        kept = {name: parameters[name].data for name in self._weights}
        for name, value in self._weights.items():
            parameters[name].data = value
        try:
            yield
        finally:
            for name, value in kept.items():
                parameters[name].data = value


def keep(weights: Weights, path: Path) -> Path:
    """Write changed weights."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: value.detach().contiguous() for name, value in weights.items()}, path)
    return path


def cross_attention(name: str) -> bool:
    """Whether a parameter belongs to a cross-attention."""
    return _BETWEEN in name


def cross_keys_and_values(unet: nn.Module) -> dict[str, nn.Linear]:
    """The projections that read the text, by path."""
    return {
        name: module
        for name, module in unet.named_modules()
        if isinstance(module, nn.Linear) and _BETWEEN in f".{name}." and name.endswith((".to_k", ".to_v"))
    }


@contextmanager
def student(base: StableDiffusion) -> Iterator[nn.Module]:
    """A copy of the denoiser to train, put in the base's place while the context is open."""
    original = base.pipeline.unet
    base.pipeline.unet = copy.deepcopy(original)
    try:
        yield base.pipeline.unet
    finally:
        base.pipeline.unet = original


def generator(seed: int, step: int) -> torch.Generator:
    """The random source of one update."""
    digest = hashlib.sha256(f"{seed}/{step}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


def base_of(model: BaseModel) -> StableDiffusion:
    """The model as the one family that the baselines are written for."""
    if not isinstance(model, StableDiffusion):
        raise TypeError(f"the baselines edit models of the Stable Diffusion 1.x family, not {model.family!r}")
    return model
