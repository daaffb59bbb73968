"""The independent judge: names concept and style of a sticker.

Invariant: only used to measure; no policy, no reviewer and no training reads it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.torch import load_file

from safegen.errors import ModelError

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class Judgement:
    """What the judge says of a batch of pictures.

    Attributes:
        concepts: best concept (or memorised title) of each picture.
        styles: best style of each.
        probabilities: (pictures, concepts), each row summing to 1.
    """

    concepts: tuple[str, ...]
    styles: tuple[str, ...]
    probabilities: torch.Tensor


class Judge:
    """A ConvNeXt over (n, 3, 64, 64) pictures in -1..1, with one output for each concept and style."""

    def __init__(self, model: Any, concepts: Sequence[str], styles: Sequence[str], size: int) -> None:
        self._model, self.concepts, self.styles, self._size = model, tuple(concepts), tuple(styles), size

    @classmethod
    def load(cls, folder: Path) -> Judge:
        """Load from a folder with `config.json` and `model.safetensors`.

        Raises:
            ModelError: a file is missing or does not fit.
        """
        from timm.models.convnext import ConvNeXt

        try:
            config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            classes = len(config["concepts"]) + len(config["styles"])
            model = ConvNeXt(num_classes=classes, **config["architecture"])
            model.load_state_dict(
                {key: value.float() for key, value in load_file(folder / "model.safetensors").items()}
            )
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise ModelError(f"the judge cannot be loaded: {error}", where=str(folder)) from error
        return cls(model.eval(), config["concepts"], config["styles"], config["size"])

    @torch.no_grad()
    def judge(self, pictures: Sequence[Image]) -> Judgement:
        """Name concept and style of each picture."""
        pixels = np.stack([np.asarray(picture.convert("RGB").resize((self._size,) * 2)) for picture in pictures])
        batch = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1
        logits = torch.cat([self._model(batch[row : row + 128]) for row in range(0, len(batch), 128)])
        concept, style = logits[:, : len(self.concepts)], logits[:, len(self.concepts) :]
        return Judgement(
            concepts=tuple(self.concepts[index] for index in concept.argmax(1)),
            styles=tuple(self.styles[index] for index in style.argmax(1)),
            probabilities=concept.softmax(1),
        )
