"""What all families share: a diffusers pipeline, loaded from a folder, read with and drawn with.

Invariants: weights are kept as float32; pictures are a function of (weights, request) and nothing else; a pipeline's
own safety checker and watermark are off, since policies decide here; no file is fetched and no code of a model's folder
is run. Noise is drawn on the CPU and then moved, so that a seed means the same noise on every device; readings lie on
the CPU, where gates compare them; what the denoiser takes and gives lies where its weights do.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import nn

from safegen.errors import ModelError
from safegen.models.base import Drawing, DrawRequest, TextReading
from safegen.models.text_encoder import text_encoder_digest

_VOCABULARY = "world.yaml"


class PipelineModel(ABC):
    """A diffusers pipeline as safegen's base model; each family says what it adds."""

    family: str
    parts: ClassVar[dict[str, object]] = {}
    """Arguments of `from_pretrained` of this family alone."""

    def __init__(self, pipeline: Any, *, digest: str) -> None:
        self.pipeline = pipeline
        self.digest = digest
        self.vocabulary_file: Path | None = None
        self.denoiser.eval().requires_grad_(requires_grad=False)
        self._targets = self._find_targets()

    @classmethod
    def load(cls, folder: Path, *, digest: str, device: str = "cpu") -> Self:
        """Load from a folder onto a device.

        Raises:
            ModelError: a part is missing or damaged, or the device is not there.
        """
        from diffusers import DiffusionPipeline
        from diffusers.utils import logging as diffusers_logging
        from transformers.utils import logging as transformers_logging

        usable_device(device)
        diffusers_logging.disable_progress_bar()
        transformers_logging.disable_progress_bar()
        try:
            pipeline = DiffusionPipeline.from_pretrained(
                folder,
                dtype=torch.float32,
                local_files_only=True,
                use_safetensors=True,
                low_cpu_mem_usage=False,
                **cls.parts,
            )
        except Exception as error:
            raise ModelError(f"the base model cannot be loaded: {error}", where=str(folder)) from error
        pipeline.set_progress_bar_config(disable=True)
        if device != "cpu":
            pipeline.to(device)
        model = cls(pipeline, digest=digest)
        words = folder / _VOCABULARY
        model.vocabulary_file = words if words.is_file() else None
        return model

    @cached_property
    def encoder_digest(self) -> str:
        """`sha256:<hex>` over the text encoders that `read` uses, and their tokenizers."""
        return text_encoder_digest(self._readers())

    @property
    def device(self) -> torch.device:
        """Where the denoiser's weights lie."""
        return next(self.denoiser.parameters()).device

    @property
    @abstractmethod
    def denoiser(self) -> nn.Module:
        """The UNet or transformer."""

    @abstractmethod
    def _find_targets(self) -> dict[str, nn.Linear | nn.Conv2d]: ...

    @abstractmethod
    def _readers(self) -> list[tuple[Any, Any]]:
        """(tokenizer, CLIP text encoder) of each encoder whose states a gate compares."""

    def targets(self) -> Mapping[str, nn.Linear | nn.Conv2d]:
        """The modules that SPMs act on, by path inside the denoiser."""
        return self._targets

    def read(self, texts: Sequence[str], *, padding: bool = True) -> list[TextReading]:
        """Encode texts with the CLIP encoders, one row of states each, several encoders side by side."""
        readers = self._readers()
        rows = [self._clip_states(encoder, token_ids(own, texts, padding=padding)) for own, encoder in readers]
        states = torch.cat(rows, dim=-1).cpu()
        tokenizer = readers[0][0]
        plain = [tuple(tokenizer(text, add_special_tokens=False).input_ids) for text in texts]
        room = tokenizer.model_max_length - 2
        return [
            TextReading(states=row, tokens=tokens[:room], truncated=len(tokens) > room)
            for row, tokens in zip(states, plain, strict=True)
        ]

    @torch.no_grad()
    def _clip_states(self, encoder: Any, ids: torch.Tensor) -> torch.Tensor:
        states: torch.Tensor = encoder(input_ids=ids.to(self.device)).last_hidden_state.float()
        return states

    def draw(self, request: DrawRequest, *, progress: Callable[[int, int], None] | None = None) -> Drawing:
        """Draw the request's images, one generator a seed.

        Raises:
            ModelError: the model failed.
        """
        generators = [torch.Generator().manual_seed(seed) for seed in request.seeds]

        def step_done(_pipeline: Any, step: int, _timestep: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
            if progress:
                progress(step + 1, request.steps)
            return kwargs

        try:
            result = self.pipeline(
                list(request.prompts),
                width=request.width,
                height=request.height,
                num_inference_steps=request.steps,
                generator=generators,
                callback_on_step_end=step_done,
                output_type="pil",
                **self._guiding(request),
            )
        except (RuntimeError, ValueError) as error:
            raise ModelError(f"the base model failed while drawing: {error}") from error
        return Drawing(images=tuple(result.images))

    def _guiding(self, request: DrawRequest) -> dict[str, Any]:
        """The pipeline's arguments for guidance and negative prompt."""
        negative = [request.negative_prompt] * len(request.seeds) if request.negative_prompt else None
        return {"guidance_scale": request.guidance, "negative_prompt": negative}

    @property
    def size(self) -> int:
        """Side of the pictures that the model was trained on, in pixels."""
        config: Any = self.denoiser.config
        return int(config.sample_size * self.pipeline.vae_scale_factor)


def usable_device(name: str) -> torch.device:
    """The device of that name.

    Raises:
        ModelError: torch knows no such device, or cannot use it on this machine.
    """
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise ModelError(
            f"the device {name!r} cannot be used here: {reason}", hint="`cpu` always can; others: cuda, cuda:1, mps"
        ) from error
    return torch.device(name)


def token_ids(tokenizer: Any, texts: Sequence[str], *, padding: bool = True) -> torch.Tensor:
    """Ids (texts, tokens), cut to what a CLIP encoder reads, and padded to that or to the longest text."""
    ids: torch.Tensor = tokenizer(
        list(texts),
        padding="max_length" if padding else "longest",
        max_length=tokenizer.model_max_length,
        truncation=True,
        return_tensors="pt",
    ).input_ids
    return ids
