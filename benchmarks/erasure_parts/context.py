"""What all parts share: base, judge, CLIP, vocabulary, the zoo behind its gate, and pictures that are drawn once."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import cast

from reporting import RESULTS

from safegen.evaluation.drawing import Sampler
from safegen.evaluation.gallery import Gallery
from safegen.evaluation.judge import Judge
from safegen.evaluation.measure import Lab
from safegen.evaluation.method import Membranes
from safegen.evaluation.neighbours import nearest
from safegen.evaluation.opening import Gated, Installed
from safegen.evaluation.vocabulary import Subject, Vocabulary
from safegen.models import load_base
from safegen.models.stable_diffusion import StableDiffusion
from safegen.review.open_clip_reviewer import OpenClipReviewer
from safegen.spm import AdapterEntry, Registry
from safegen.training.sticker.vocabulary import vocabulary_of
from safegen.training.sticker.world import sticker_world


@dataclass
class Context:
    """One run: its size, its seed, where it works, and what it loads, each once."""

    work: Path
    quick: bool
    seed: int
    pictures: int

    @cached_property
    def registry(self) -> Registry:
        """The shipped one."""
        return Registry.open()

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """Of the sticker world."""
        return vocabulary_of(sticker_world())

    @cached_property
    def judge(self) -> Judge:
        """The independent one."""
        return Judge.load(self.registry.folder_of(self.registry.judge("sticker")))

    @cached_property
    def clip(self) -> OpenClipReviewer:
        """The reviewer's CLIP."""
        entry = self.registry.reviewer("sticker/open_clip")
        return OpenClipReviewer.load(self.registry.folder_of(entry), digest=entry.digest)

    @cached_property
    def base(self) -> StableDiffusion:
        """The sticker base."""
        return self.load("sticker")

    def load(self, name: str) -> StableDiffusion:
        """A base of the registry."""
        entry = self.registry.base(name)
        return cast("StableDiffusion", load_base(self.registry.folder_of(entry), digest=entry.digest))

    @cached_property
    def sampler(self) -> Sampler:
        """The base's own, with a fifth of the steps in a quick run."""
        entry = self.registry.base("sticker")
        return Sampler(entry.size, entry.steps // 5 if self.quick else entry.steps, entry.guidance)

    @cached_property
    def lab(self) -> Lab:
        """Gallery, judge and CLIP for the sticker base."""
        return self.lab_of(self.base)

    def lab_of(self, base: StableDiffusion) -> Lab:
        """Gallery, judge and CLIP for a base."""
        return Lab(Gallery(base, self.sampler, self.work / "pictures"), self.judge, self.clip)

    @cached_property
    def zoo(self) -> dict[str, AdapterEntry]:
        """Adapters of the sticker base by concept; the shortest id where one concept has several."""
        entries = sorted(self.registry.index.adapters, key=lambda each: (len(each.id), each.id), reverse=True)
        return {each.concept: each for each in entries if each.base == "sticker"}

    def installed(self, names: Sequence[str]) -> list[Installed]:
        """The SPMs of these concepts, styles or titles, with what their gates need."""
        base = self.registry.base("sticker")
        return [
            Installed.of(self.zoo[name], self.registry.load_adapter(self.zoo[name].id, base=base)) for name in names
        ]

    def gated(self, names: Sequence[str], base: StableDiffusion | None = None) -> Membranes:
        """The base behind these SPMs and the calibrated gate, as a guard would put it."""
        base = base or self.base
        return Membranes(base, Gated(base, self.installed(names)), name="SPM and calibrated gate")

    def concepts(self, count: int, *, first: Sequence[str] = ()) -> list[str]:
        """Concepts that have an adapter: `first` ones that do, then others in an order given by the run's seed."""
        order = sorted(each.name for each in self.vocabulary.concepts)
        random.Random(self.seed).shuffle(order)
        chosen = dict.fromkeys([*first, *order])
        return [name for name in chosen if name in self.zoo][:count]

    def neighbours(self, name: str, count: int) -> list[str]:
        """The nearest of the same kind, whether or not they have an adapter."""
        if name in self.vocabulary.styles:
            others: Sequence[str] = self.vocabulary.styles
        elif name in self.vocabulary.titles:
            others = self.vocabulary.titles
        else:
            others = [each.name for each in self.vocabulary.concepts]
        return nearest(self.base, name, [other for other in others if other != name], count)

    def others(self, without: Sequence[str], count: int) -> list[str]:
        """Up to `count` further concepts, none of those."""
        return [name for name in self.concepts(24) if name not in without][-count:]

    def subject(self, name: str) -> Subject:
        """A concept of the vocabulary."""
        return self.vocabulary.subject(name)

    def note(self, part: str) -> dict[str, object]:
        """What every part states beside its numbers."""
        return {
            "part": part,
            "seed": self.seed,
            "pictures a cell": self.pictures,
            "steps": self.sampler.steps,
            "guidance": self.sampler.guidance,
            "judge": self.registry.judge("sticker").digest[:19],
            "work": self.work.name,
        }

    def picture(self, name: str) -> Path:
        """Where a kept plot goes; into the work folder in a quick run."""
        folder = self.work if self.quick else RESULTS
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{name}.png"
