"""What an SPM does, measured: is its target still recognised, and are its nearest neighbours?

Each recipe is measured on prompts that are spread over its targets and its probes (which training never saw), bare and
with the membrane fully open, and on its neighbours with the membrane as open, where a gate would close it. The judge
says what it sees; a neighbour, and a style's content, is kept if the judge sees in it what it saw in the bare picture.
Pictures and judgements are kept in a folder, so that a killed run goes on and bare pictures are drawn once.
Invariant: what is kept is found again by what it was drawn with (prompts, seeds, sampler, base, tensors).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from safegen.evaluation.drawing import Sampler, draw_all
from safegen.spm import Attached, SpmFile
from safegen.training.recipe import Recipe

if TYPE_CHECKING:
    from PIL.Image import Image

    from safegen.evaluation.judge import Judge
    from safegen.models import TrainableModel

PICTURES = 20
_BARE = 5
"""Every how many-th target is drawn bare as well."""
_NEIGHBOURS = 2
_FIRST_SEED = 100


@dataclass(frozen=True, slots=True)
class Effect:
    """Shares of pictures, 0..1.

    Attributes:
        target_before: that show the target, bare.
        target_after: that show the target, with the membrane open.
        unseen_after: the same over the prompts that training never saw.
        content_kept: of a style: that show what they showed.
        neighbours_change: of the neighbours: that show what they showed, with the membrane open, less 1.
        pictures: of the target with the membrane open.
        pictures_before: of the target, bare.
        picture_steps: denoising steps of each.
    """

    target_before: float
    target_after: float
    unseen_after: float | None
    content_kept: float | None
    neighbours_change: float | None
    pictures: int
    pictures_before: int
    picture_steps: int

    def measured(self) -> dict[str, float]:
        """As the index has it."""
        return {key: round(float(value), 4) for key, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class Plan:
    """The prompts of one measurement, each with its seed.

    Attributes:
        targets: first those that were trained on, then the unseen ones.
        unseen: how many of the targets are unseen.
        before: those of the targets that are drawn bare as well.
        neighbours: what should stay.
    """

    targets: tuple[tuple[str, int], ...]
    unseen: int
    before: tuple[tuple[str, int], ...]
    neighbours: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Drawn:
    """Pictures of a plan, and what the judge sees in each."""

    pictures: tuple[Image, ...]
    concepts: tuple[str, ...]
    styles: tuple[str, ...]


def plan(recipe: Recipe, neighbours: Sequence[str], pictures: int = PICTURES) -> Plan:
    """Half of the pictures from the targets, half from the probes; the nearest neighbours, one picture each."""
    trained = [target for target, _ in recipe.pairs()]
    probes = spread(recipe.probe_prompts(), pictures // 2)
    texts = [*_repeated(spread(trained, pictures - len(probes)), pictures - len(probes)), *probes]
    near = neighbours[:_NEIGHBOURS]
    targets = tuple((text, _FIRST_SEED + number) for number, text in enumerate(texts))
    return Plan(
        targets=targets,
        unseen=len(probes),
        before=targets[::_BARE],
        neighbours=tuple((text, _FIRST_SEED + number) for number, text in enumerate(near)),
    )


def spread(prompts: Sequence[str], count: int) -> list[str]:
    """Up to `count` prompts, evenly from the list."""
    if len(prompts) <= count:
        return list(prompts)
    return [prompts[index * len(prompts) // count] for index in range(count)]


def _repeated(prompts: list[str], count: int) -> list[str]:
    return [prompts[index % len(prompts)] for index in range(count)]


class Meter:
    """Draws and judges what a plan asks for on one base.

    Args:
        base: the model, bare.
        judge: names what is seen; None to draw only.
        sampler: how pictures are drawn.
        folder: where pictures and judgements are kept.
    """

    def __init__(self, base: TrainableModel, judge: Judge | None, sampler: Sampler, folder: Path) -> None:
        self._base, self._judge, self._sampler, self._folder = base, judge, sampler, folder

    def bare(self, wanted: Plan) -> Drawn:
        """The pictures of the base alone: some targets, and the neighbours."""
        return self._draw((*wanted.before, *wanted.neighbours), None)

    def opened(self, wanted: Plan, spm: SpmFile) -> Drawn:
        """The pictures with the SPM fully open: all targets, and the neighbours."""
        return self._draw((*wanted.targets, *wanted.neighbours), spm)

    def _draw(self, prompts: tuple[tuple[str, int], ...], spm: SpmFile | None) -> Drawn:
        home = self._folder / self._key(prompts, spm)
        if (kept := self._kept(home, len(prompts))) is not None:
            return kept
        attached = [Attached(spm, 1.0, "measured")] if spm else []
        pictures = draw_all(self._base, prompts, self._sampler, spms=attached)
        seen = self._judge.judge(pictures) if self._judge else None
        drawn = Drawn(tuple(pictures), seen.concepts if seen else (), seen.styles if seen else ())
        self._keep(home, drawn)
        return drawn

    def effect(self, recipe: Recipe, wanted: Plan, bare: Drawn, opened: Drawn) -> Effect | None:
        """What the pictures, bare and with the SPM open, say of it; None if the judge does not know the concept."""
        if self._judge is None or recipe.concept not in (*self._judge.concepts, *self._judge.styles):
            return None
        styled = recipe.concept in self._judge.styles
        before, after = (list(drawn.styles if styled else drawn.concepts) for drawn in (bare, opened))
        count, some = len(wanted.targets), len(wanted.before)
        hits = [name == recipe.concept for name in after[:count]]
        kept = [left == right for left, right in zip(before[some:], after[count:], strict=True)]
        content = [
            left == right for left, right in zip(bare.concepts[:some], opened.concepts[:count:_BARE], strict=True)
        ]
        return Effect(
            target_before=_share([name == recipe.concept for name in before[:some]]),
            target_after=_share(hits),
            unseen_after=_share(hits[count - wanted.unseen :]) if wanted.unseen else None,
            content_kept=_share(content) if styled else None,
            neighbours_change=_share(kept) - 1 if wanted.neighbours else None,
            pictures=count,
            pictures_before=some,
            picture_steps=self._sampler.steps,
        )

    def _key(self, prompts: tuple[tuple[str, int], ...], spm: SpmFile | None) -> str:
        digest = hashlib.sha256(json.dumps([prompts, asdict(self._sampler), self._base.digest]).encode())
        for name, (down, up, alpha) in sorted(spm.layers.items()) if spm else ():
            digest.update(name.encode() + down.numpy().tobytes() + up.numpy().tobytes() + str(alpha).encode())
        return digest.hexdigest()[:32]

    def _kept(self, home: Path, count: int) -> Drawn | None:
        from PIL import Image

        if not home.with_suffix(".json").is_file():
            return None
        seen = json.loads(home.with_suffix(".json").read_text(encoding="utf-8"))
        side = self._sampler.size
        with Image.open(home.with_suffix(".png")) as strip:
            pictures = tuple(strip.crop((i * side, 0, (i + 1) * side, side)).convert("RGB") for i in range(count))
        return Drawn(pictures, tuple(seen["concepts"]), tuple(seen["styles"]))

    def _keep(self, home: Path, drawn: Drawn) -> None:
        from PIL import Image

        side = self._sampler.size
        strip = Image.new("RGB", (side * len(drawn.pictures), side))
        for number, picture in enumerate(drawn.pictures):
            strip.paste(picture, (number * side, 0))
        self._folder.mkdir(parents=True, exist_ok=True)
        strip.save(home.with_suffix(".png"))
        text = json.dumps({"concepts": drawn.concepts, "styles": drawn.styles})
        partial = home.with_suffix(".partial")
        partial.write_text(text, encoding="utf-8")
        partial.replace(home.with_suffix(".json"))


def _share(hits: Sequence[bool]) -> float:
    return sum(hits) / len(hits)
