"""Draws for measuring, each picture once: what was drawn before is read from a folder.

Invariants: pictures are kept under a digest of all that determines them, so a changed adapter, gate, seed or sampler is
never served an old picture; a run that was killed goes on where it was; pictures of one state are drawn together in
batches, and a picture kept was drawn in some such batch (a batch's size may change last bits; see `identity`).
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image as PillowImage

from safegen.evaluation.drawing import BATCH, Sampler
from safegen.evaluation.method import BARE, Bare, Method
from safegen.models import DrawRequest

if TYPE_CHECKING:
    from PIL.Image import Image

    from safegen.models import BaseModel

Prompted = tuple[str, int]
"""A prompt and its seed."""


class Gallery:
    """Pictures of one base model under one sampler, kept in memory and, if there is a folder, on disk."""

    def __init__(
        self,
        base: BaseModel,
        sampler: Sampler,
        folder: Path | None = None,
        *,
        progress: Callable[[int], None] | None = None,
    ) -> None:
        self.base, self.sampler, self.drawn = base, sampler, 0
        self._folder, self._progress = folder, progress
        self._kept: dict[str, Image] = {}

    def bare(self, prompts: Sequence[Prompted]) -> list[Image]:
        """Pictures of the bare model."""
        return self.draw(Bare(self.base), prompts)

    def draw(self, method: Method, prompts: Sequence[Prompted]) -> list[Image]:
        """One picture a prompt, in order; only what was never drawn is drawn now."""
        states = method.states([prompt for prompt, _ in prompts])
        keys = [self._key(state, *prompted) for state, prompted in zip(states, prompts, strict=True)]
        missing: dict[str, dict[str, Prompted]] = defaultdict(dict)
        for state, key, prompted in zip(states, keys, prompts, strict=True):
            if self._find(key) is None:
                missing[state][key] = prompted
        for state, wanted in missing.items():
            self._draw(Bare(self.base) if state == BARE else method, state, wanted)
        return [self._kept[key] for key in keys]

    def identity(self, method: Method, prompts: Sequence[Prompted]) -> list[bool]:
        """Whether each picture is the bare model's, bit for bit: both are drawn now, in batches of the same layout."""
        same: list[bool] = []
        states = method.states([prompt for prompt, _ in prompts])
        for state in dict.fromkeys(states):
            own = [prompted for prompted, other in zip(prompts, states, strict=True) if other == state]
            for batch in (own[at : at + BATCH] for at in range(0, len(own), BATCH)):
                request = self._request(batch)
                pairs = zip(method.draw(state, request), self.base.draw(request).images, strict=True)
                same += [bool(np.array_equal(np.asarray(left), np.asarray(right))) for left, right in pairs]
        return same

    def seconds(self, method: Method | None, prompts: Sequence[Prompted]) -> float:
        """Mean processor seconds of a picture, drawn anew in one batch of one state; None for the bare model."""
        method = method or Bare(self.base)
        states = method.states([prompt for prompt, _ in prompts])
        own = [prompted for prompted, state in zip(prompts, states, strict=True) if state == states[0]]
        began = time.process_time()
        method.draw(states[0], self._request(own))
        return (time.process_time() - began) / len(own)

    def _draw(self, method: Method, state: str, wanted: dict[str, Prompted]) -> None:
        items = list(wanted.items())
        for batch in (items[at : at + BATCH] for at in range(0, len(items), BATCH)):
            request = self._request([prompted for _, prompted in batch])
            for (key, _), picture in zip(batch, method.draw(state, request), strict=True):
                self._keep(key, picture)
            self.drawn += len(batch)
            if self._progress:
                self._progress(len(batch))

    def _request(self, prompts: Sequence[Prompted]) -> DrawRequest:
        texts, seeds = zip(*prompts, strict=True)
        sampler = self.sampler
        return DrawRequest(
            texts, seeds, sampler.negative_prompt, sampler.size, sampler.size, sampler.steps, sampler.guidance
        )

    def _key(self, state: str, prompt: str, seed: int) -> str:
        parts = [self.base.digest, asdict(self.sampler), state, prompt, seed]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def _path(self, key: str) -> Path | None:
        return self._folder / key[:2] / f"{key}.png" if self._folder else None

    def _find(self, key: str) -> Image | None:
        path = self._path(key)
        if key not in self._kept and path and path.is_file():
            with PillowImage.open(path) as file:
                self._kept[key] = file.convert("RGB")
        return self._kept.get(key)

    def _keep(self, key: str, picture: Image) -> None:
        self._kept[key] = picture
        if path := self._path(key):
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_suffix(".partial")
            picture.save(partial, format="PNG")
            partial.replace(path)
