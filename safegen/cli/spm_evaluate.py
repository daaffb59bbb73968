"""`safegen spm evaluate`: what adapters erase and what they leave, measured, as a page, as Markdown and as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from safegen.evaluation.evaluate import Erased
    from safegen.evaluation.measure import Lab
    from safegen.evaluation.method import Method
    from safegen.evaluation.record import Evaluation
    from safegen.evaluation.report import Evaluated
    from safegen.models import BaseModel
    from safegen.spm import AdapterEntry, BaseEntry, Registry

GateName = Literal["calibrated", "open"]


def evaluate(
    adapters: Annotated[list[str] | None, typer.Argument(help="Ids of adapters.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for the report and its pictures.")] = Path("runs/evaluation"),
    base: Annotated[str, typer.Option(help="Id of the base model to draw with.")] = "sticker",
    gate: Annotated[str, typer.Option(help="calibrated, or open: permeability 1 whatever the prompt.")] = "calibrated",
    pictures: Annotated[int, typer.Option(min=1, help="Pictures a cell.")] = 20,
    neighbours: Annotated[int, typer.Option(min=0, help="Nearest names that must stay.")] = 3,
    kept: Annotated[int, typer.Option(min=1, help="Pictures of everything else; FID and KID need 50.")] = 60,
    seed: Annotated[int, typer.Option(min=0, help="Of the pictures.")] = 100,
    *,
    every: Annotated[bool, typer.Option("--all", help="Every adapter of the registry for this family.")] = False,
    together: Annotated[
        bool, typer.Option("--together", help="All of them installed at once: one evaluation.")
    ] = False,
    export: Annotated[
        bool, typer.Option("--export", help="Also write every picture, with a table of prompts.")
    ] = False,
    write: Annotated[bool, typer.Option("--write", help="Write the measured effect into the index.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False,
) -> None:
    """Evaluate adapters: recognition before and after, what is retained, CLIP, SSIM, FID, KID. Goes on after a kill."""
    from rich.console import Console

    from safegen.spm import Registry

    if gate not in {"calibrated", "open"}:
        raise typer.BadParameter(f"there is no gate {gate!r}; there are calibrated and open", param_hint="--gate")
    if write and (together or base != "sticker"):
        raise typer.BadParameter(
            "what is measured together, or on another base, is no adapter's own effect", param_hint="--write"
        )
    registry = Registry.open()
    chosen = _chosen(registry, adapters or [], registry.base(base), every=every)
    console = Console(stderr=True, quiet=as_json)
    bench = _Bench(registry, base, out)
    groups = [chosen] if together else [[entry] for entry in chosen]
    from safegen.evaluation.evaluate import Size, planned
    from safegen.evaluation.evaluate import evaluate as run
    from safegen.evaluation.export import export_pictures
    from safegen.evaluation.report import write_report

    size = Size(pictures, neighbours, kept, seed, timed=len(groups) == 1)
    results: list[Evaluated] = []
    with _bar(console, len(groups)) as advance:
        for group in groups:
            method, erased = bench.method(group, "open" if gate == "open" else "calibrated")
            results.append(run(bench.lab, method, erased, bench.vocabulary, size, base=base))
            if export:
                cases = planned(bench.lab, erased, bench.vocabulary, size)
                export_pictures(bench.lab.gallery, method, cases, out / "export" / group[0].id)
            if write:
                registry = _written(registry, group[0], results[-1].evaluation)
                registry.save()
            advance(group[0].id)
    data, _, page = write_report(results, out)
    if as_json:
        typer.echo(json.dumps([each.evaluation.model_dump(mode="json") for each in results], indent=2))
        return
    _show(Console(), results)
    console.print(f"{page}\n{data}")


class _Bench:
    """Base, judge, CLIP and vocabulary, loaded once."""

    def __init__(self, registry: Registry, base: str, out: Path) -> None:
        from safegen.evaluation.drawing import Sampler
        from safegen.evaluation.gallery import Gallery
        from safegen.evaluation.judge import Judge
        from safegen.evaluation.measure import Lab
        from safegen.models import load_base
        from safegen.review.open_clip_reviewer import OpenClipReviewer
        from safegen.training.sticker.vocabulary import vocabulary_of
        from safegen.training.sticker.world import sticker_world

        self.registry, self.entry = registry, registry.base(base)
        self.vocabulary = vocabulary_of(sticker_world())
        self.base: BaseModel = load_base(registry.folder_of(self.entry), digest=self.entry.digest)
        eye = registry.reviewer("sticker/open_clip")
        self.lab: Lab = Lab(
            Gallery(self.base, Sampler(self.entry.size, self.entry.steps, self.entry.guidance), out / "pictures"),
            Judge.load(registry.folder_of(registry.judge("sticker"))),
            OpenClipReviewer.load(registry.folder_of(eye), digest=eye.digest),
        )

    def method(self, group: list[AdapterEntry], gate: GateName) -> tuple[Method, Erased]:
        """The base behind these adapters, and what they are."""
        from safegen.evaluation.evaluate import Erased
        from safegen.evaluation.method import Membranes, always
        from safegen.evaluation.opening import Gated, Installed
        from safegen.spm import Attached

        spms = [self.registry.load_adapter(entry.id, base=self.entry) for entry in group]
        pairs = list(zip(group, spms, strict=True))
        opener = (
            always(*(Attached(spm, 1.0, entry.id) for entry, spm in pairs))
            if gate == "open"
            else Gated(self.base, [Installed.of(entry, spm) for entry, spm in pairs])
        )
        erased = Erased(
            targets=tuple(entry.concept for entry in group),
            category=group[0].category,
            adapters=tuple(entry.id for entry in group),
            gate=gate,
            bytes=sum((self.registry.folder / entry.path).stat().st_size for entry in group),
            parameters=sum(spm.parameters for spm in spms),
        )
        return Membranes(self.base, opener, name="SPM"), erased


def _chosen(registry: Registry, ids: list[str], base: BaseEntry, *, every: bool) -> list[AdapterEntry]:
    if every == bool(ids):
        raise typer.BadParameter("name adapters, or say --all", param_hint="ADAPTERS")
    entries = [registry.adapter(name) for name in dict.fromkeys(ids)] or list(registry.index.adapters)
    fitting = [entry for entry in entries if entry.family == base.family]
    if ids and len(fitting) < len(entries):
        strangers = ", ".join(entry.id for entry in entries if entry not in fitting)
        raise typer.BadParameter(f"not for the family {base.family!r} of {base.id!r}: {strangers}")
    return fitting


def _written(registry: Registry, entry: AdapterEntry, evaluation: Evaluation) -> Registry:
    (target,) = evaluation.cells_of("target")
    near = evaluation.cells_of("neighbour")
    change = min((cell.after.value - cell.before.value for cell in near), default=0.0)
    content = [cell for cell in evaluation.cells_of("cross-domain") if cell.name == f"content in {target.name}"]
    measured = {
        **({"content_kept": round(content[0].after.value, 4)} if content else {}),
        "target_before": round(target.before.value, 4),
        "target_after": round(target.after.value, 4),
        "neighbours_change": round(change, 4),
        "pictures": float(target.pictures),
        "pictures_before": float(target.pictures),
        "picture_steps": float(evaluation.setting.steps),
    }
    return registry.with_entry("adapters", entry.model_copy(update={"measured": measured}))


@contextmanager
def _bar(console: Console, total: int) -> Iterator[Callable[[str], None]]:
    """A progress bar over adapters."""
    from rich.progress import Progress

    with Progress(console=console, disable=console.quiet) as progress:
        task = progress.add_task("adapters", total=total)
        yield lambda name: progress.update(task, advance=1, description=name)


def _show(console: Console, results: list[Evaluated]) -> None:
    from rich.table import Table

    from safegen.evaluation.report import percent, rate

    table = Table("adapters", "role", "name", "before", "after (95 %)", "SSIM", "identical")
    for result in results:
        setting = result.evaluation.setting
        for cell in result.evaluation.cells:
            table.add_row(
                ", ".join(setting.adapters[:3]) + (" ..." if len(setting.adapters) > 3 else ""),  # noqa: PLR2004
                cell.role,
                cell.name,
                percent(cell.before.value),
                rate(cell.after),
                f"{cell.ssim:.3f}",
                percent(cell.identical.value),
            )
    console.print(table)
