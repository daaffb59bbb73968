"""The independent judge: names concept and style of a sticker.

Invariant: only used to measure; no policy, no reviewer and no training reads it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from safegen.data import folder_digest
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
    """Opens the judge's network and asks it."""

    def __init__(self, model: Any, concepts: Sequence[str], styles: Sequence[str], size: int, folder: Path) -> None:
        self._model, self.concepts, self.styles, self._size = model, tuple(concepts), tuple(styles), size
        self.folder = folder

    @classmethod
    def load(cls, folder: Path) -> Judge:
        """Load from a folder with `config.json` and `model.safetensors`.

        Raises:
            ModelError: a file is missing or does not fit.
        """
        from safegen.evaluation.judge_network import JudgeNetwork

        try:
            config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            model = JudgeNetwork(len(config["concepts"]), len(config["styles"]), config["architecture"])
            model.load_state_dict(
                {key: value.float() for key, value in load_file(folder / "model.safetensors").items()}
            )
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            raise ModelError(f"the judge cannot be loaded: {error}", where=str(folder)) from error
        return cls(model.eval(), config["concepts"], config["styles"], config["size"], folder)

    @cached_property
    def digest(self) -> str:
        """`sha256:<hex>` of the judge's folder."""
        return folder_digest(self.folder)

    @torch.no_grad()
    def judge(self, pictures: Sequence[Image]) -> Judgement:
        """Name concept and style of each picture."""
        answers = [self._model(batch) for batch in self._batches(pictures)]
        concept, style = (torch.cat(part) for part in zip(*answers, strict=True))
        return Judgement(
            concepts=tuple(self.concepts[index] for index in concept.argmax(1)),
            styles=tuple(self.styles[index] for index in style.argmax(1)),
            probabilities=concept.exp(),
        )

    @torch.no_grad()
    def features(self, pictures: Sequence[Image]) -> torch.Tensor:
        """What the last layer reads of each picture: (n, width)."""
        return torch.cat([self._model.features(batch) for batch in self._batches(pictures)])

    def _batches(self, pictures: Sequence[Image]) -> tuple[torch.Tensor, ...]:
        pixels = np.stack([np.asarray(picture.convert("RGB").resize((self._size,) * 2)) for picture in pictures])
        return torch.split(torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1, 128)

    def held_out_features(self) -> torch.Tensor:
        """The features (n, width) of renders that neither base nor judge was trained on.

        Raises:
            ModelError: the judge's folder has none.
        """
        path = self.folder / "held_out.safetensors"
        try:
            return load_file(path)["features"].float()
        except (OSError, KeyError, SafetensorError) as error:
            raise ModelError(f"the judge has no held-out features: {error}", where=str(path)) from error
