"""What each shipped SPM erases and what it leaves: judged before and after, 20 pictures a cell.

For an object, character or title: its own recognition and that of its three nearest neighbours in the text encoder's
space. For a style: how often the style is seen, how often the content is, and the three nearest styles. The membranes
are fully open (permeability 1) throughout, also for the neighbours, where a gate would close them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from reporting import Report
from rich.console import Console
from rich.progress import track

from safegen.evaluation.drawing import Sampler
from safegen.evaluation.judge import Judge, Judgement
from safegen.evaluation.spm_effect import Cell, measure_cell, nearest
from safegen.models import BaseModel, load_base
from safegen.spm import AdapterEntry, Registry, SpmFile
from safegen.training.sticker.captions import with_article
from safegen.training.sticker.world import World, sticker_world

Named = Callable[[Judgement, int], bool]


class Bench:
    """Base, judge and world, and one cell at a time."""

    def __init__(self, registry: Registry, pictures: int, seed: int) -> None:
        entry = registry.base("sticker")
        self.base: BaseModel = load_base(registry.folder_of(entry), digest=entry.digest)
        self.judge = Judge.load(registry.folder_of(registry.judge("sticker")))
        self.world: World = sticker_world()
        self.sampler = Sampler(entry.size, entry.steps, entry.guidance)
        self.pictures, self.seed = pictures, seed
        self.styles = [style.name for style in self.world.styles]

    def concept(self, name: str, spm: SpmFile) -> Cell:
        """One concept over all styles, or a title as it is."""
        memorised = any(each.title == name for each in self.world.memorised)
        prompts = [
            (
                name if memorised else f"{with_article(name)} in the style of {self.styles[i % len(self.styles)]}",
                self.seed + i,
            )
            for i in range(self.pictures)
        ]
        return self._cell(name, prompts, spm, lambda seen, i: seen.concepts[i] == name)

    def style(self, name: str, spm: SpmFile) -> tuple[Cell, Cell]:
        """One style over many concepts: how often the style is seen, and how often the content."""
        step = max(1, len(self.world.concepts) // self.pictures)
        nouns = [concept.name for concept in self.world.concepts[::step]][: self.pictures]
        prompts = [(f"{with_article(noun)} in the style of {name}", self.seed + i) for i, noun in enumerate(nouns)]
        styled = self._cell(name, prompts, spm, lambda seen, i: seen.styles[i] == name)
        content = self._cell(f"content in {name}", prompts, spm, lambda seen, i: seen.concepts[i] == nouns[i])
        return styled, content

    def _cell(self, name: str, prompts: list[tuple[str, int]], spm: SpmFile, named: Named) -> Cell:
        return measure_cell(self.base, self.judge, prompts, self.sampler, spm, named=named, name=name)[0]

    def neighbours(self, adapter: AdapterEntry) -> list[str]:
        """The three nearest of the same kind."""
        if adapter.category == "style":
            others = self.styles
        elif adapter.category == "memorised":
            others = [memorised.title for memorised in self.world.memorised]
        else:
            others = [concept.name for concept in self.world.concepts]
        return nearest(self.base, adapter.concept, [other for other in others if other != adapter.concept])


def main(
    quick: Annotated[bool, typer.Option(help="One adapter, 6 pictures a cell.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON last.")] = False,
    seed: Annotated[int, typer.Option(help="Of the pictures.")] = 100,
    pictures: Annotated[int, typer.Option(help="Pictures a cell.")] = 20,
    only: Annotated[str | None, typer.Option(help="One adapter's id.")] = None,
    write: Annotated[bool, typer.Option(help="Write what was measured into the index.")] = False,
) -> None:
    """Measure every shipped adapter of the sticker base."""
    registry = Registry.open()
    bench = Bench(registry, 6 if quick else pictures, seed)
    adapters = [each for each in registry.index.adapters if each.base == "sticker" and only in {None, each.id}]
    report = Report("spm_effect", extra={"seed": seed, "pictures": bench.pictures})
    rows: list[tuple[str, str, str, float, float, float]] = []
    for adapter in track(adapters[: 1 if quick else None], "adapters", console=Console(stderr=True)):
        spm = registry.load_adapter(adapter.id, base=registry.base("sticker"))
        if adapter.category == "style":
            target, content = bench.style(adapter.concept, spm)
            cells = [content, *(bench.style(name, spm)[0] for name in bench.neighbours(adapter))]
        else:
            target = bench.concept(adapter.concept, spm)
            cells = [bench.concept(name, spm) for name in bench.neighbours(adapter)]
        rows.append((adapter.id, "target", target.name, target.before, target.after, target.ssim))
        rows += [(adapter.id, "kept", cell.name, cell.before, cell.after, cell.ssim) for cell in cells]
        change = min(cell.after - cell.before for cell in cells)
        report.at_most(f"{adapter.id}: target recognised after", target.after, 0.10)
        report.at_most(f"{adapter.id}: largest loss of a neighbour", max(0.0, -change), 0.05)
        measured = {"target_before": target.before, "target_after": target.after, "neighbours_change": round(change, 4)}
        registry = registry.with_entry("adapters", adapter.model_copy(update={"measured": measured}))
    report.tables.append(("cells", ("adapter", "role", "name", "before", "after", "SSIM to bare"), rows))
    if write:
        registry.save()
    report.finish(as_json=as_json, keep=not quick and only is None and Path.cwd().joinpath("benchmarks").is_dir())


if __name__ == "__main__":
    typer.run(main)
