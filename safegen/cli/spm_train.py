"""`safegen spm train`: solve or train SPMs, one or a whole list, in one process.

Exit codes: 0 done, 1 error, 2 usage, 130 interrupted.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from safegen.evaluation.judge import Judge
    from safegen.models import TrainableModel
    from safegen.spm import Registry
    from safegen.training.effect import Effect, Meter
    from safegen.training.loop import Progress
    from safegen.training.recipe import Recipe
    from safegen.training.result import Trained
    from safegen.training.trainer import Trainer

_INTERRUPTED = 130
_STEPS, _GUIDANCE = 30, 7.5
"""How pictures of a base outside the registry are drawn: as in the paper's evaluation."""
_UNJUDGED = 4
"""Pictures of a target where no judge looks at them."""


class Method(StrEnum):
    """How an SPM is made; as recipes name it."""

    CLOSED_FORM = "closed-form"
    LOOP = "loop"
    RELEASED = "released"


def train(
    recipes: Annotated[
        list[str] | None,
        typer.Argument(metavar="RECIPE...", help="Recipe files, or names of shipped ones, e.g. nudity or sticker/zoo."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the adapters.")] = Path("runs/spm"),
    only: Annotated[list[str] | None, typer.Option(help="Ids of the recipes to take from a list.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Updates instead of the recipe's own number.")] = None,
    base: Annotated[str | None, typer.Option(help="Id or folder of a base model instead of the recipe's.")] = None,
    pictures: Annotated[int, typer.Option(min=0, help="Pictures of each target, bare and erased; 0 for none.")] = 20,
    picture_steps: Annotated[int | None, typer.Option(min=1, help="Denoising steps of a picture.")] = None,
    *,
    recipe: Annotated[list[str] | None, typer.Option(help="The same as RECIPE, as an option.")] = None,
    method: Annotated[Method | None, typer.Option(help="The method instead of the recipe's.")] = None,
    hardened: Annotated[
        bool, typer.Option("--hardened", help="Make them withstand attacks on the text input; ids end in -hardened.")
    ] = False,
    device: Annotated[str, typer.Option(help="Where the base runs: cpu, cuda, cuda:1, mps.")] = "cpu",
    register: Annotated[bool, typer.Option("--register", help="Add the adapters to spm_models and its index.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Train again what is finished.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False,
) -> None:
    """Solve or train SPMs. A killed run goes on where it was; what is finished is skipped."""
    from rich.console import Console

    from safegen.training.recipe_file import find_recipe, read_recipes
    from safegen.training.registration import register as add
    from safegen.training.registration import registered_recipe

    named = [*(recipes or ()), *(recipe or ())]
    if not named:
        raise typer.BadParameter("name at least one", param_hint="RECIPE...")
    console = Console(stderr=True, quiet=as_json)
    registry = _registry(needed=register or not _is_model(base))
    if register and _is_model(base):
        raise typer.BadParameter("the base must be one of the registry", param_hint="--register")
    # A folder is stated by its name alone: adapters carry no paths of the machine they were trained on.
    name = Path(base).name if base is not None and _is_model(base) else base
    stated = (("steps", steps), ("base", name), ("method", method.value if method else None))
    changes = {key: value for key, value in stated if value is not None}
    files = [find_recipe(each) for each in named]
    read = [(path, each.model_copy(update=changes)) for path in files for each in read_recipes(path)]
    read = _chosen(read, only, hardened=hardened)
    if register:
        for path in files:
            registered_recipe(registry, path)
    benches: dict[str, _Bench] = {}
    results: list[dict[str, object]] = []
    try:
        with _many(len(read), console) as advance:
            for path, each in read:
                if each.base not in benches:
                    drawing = _Drawing(pictures, picture_steps)
                    benches[each.base] = _bench(registry, base or each.base, device, out, drawing)
                done = _one(each, benches[each.base], out, console, force=force)
                results.append(done.shown())
                if register:
                    registry = add(registry, each, path, registry.base(each.base), done.trained, done.effect)
                advance(each.id)
    except KeyboardInterrupt:
        Console(stderr=True).print("interrupted and saved; the same command goes on from there")
        raise typer.Exit(_INTERRUPTED) from None
    if as_json:
        typer.echo(json.dumps(results, indent=2))


@dataclass(frozen=True)
class _Drawing:
    pictures: int
    steps: int | None


@dataclass(frozen=True)
class _Bench:
    """What the recipes of one base share."""

    base: TrainableModel
    trainer: Trainer
    meter: Meter | None
    pictures: int


@dataclass(frozen=True)
class _Done:
    recipe: Recipe
    trained: Trained
    effect: Effect | None
    skipped: bool

    def shown(self) -> dict[str, object]:
        return {
            "id": self.recipe.id,
            "path": str(self.trained.path),
            "digest": self.trained.digest,
            "seconds": self.trained.seconds,
            "skipped": self.skipped,
            "measured": self.effect.measured() if self.effect else {},
            "nothing_to_erase": self.effect is not None and not self.effect.target_before,
        }


def _chosen(read: list[tuple[Path, Recipe]], only: list[str] | None, *, hardened: bool) -> list[tuple[Path, Recipe]]:
    known = {recipe.id for _, recipe in read}
    if unknown := [name for name in only or () if name not in known]:
        raise typer.BadParameter(f"no recipe {unknown[0]!r} there", param_hint="--only")
    chosen = [(path, recipe) for path, recipe in read if not only or recipe.id in only]
    if not hardened:
        return chosen
    try:
        return [(path, recipe.hardened()) for path, recipe in chosen]
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--hardened") from error


def _is_model(base: str | None) -> bool:
    return base is not None and (Path(base) / "model_index.json").is_file()


def _registry(*, needed: bool) -> Registry:
    from safegen.data import data_folder
    from safegen.spm import Registry
    from safegen.spm.index import Index

    return Registry.open() if needed else Registry(folder=data_folder("spm_models"), index=Index())


def _bench(registry: Registry, base: str, device: str, out: Path, drawing: _Drawing) -> _Bench:
    from safegen.data import folder_digest
    from safegen.evaluation.drawing import Sampler
    from safegen.evaluation.judge import Judge
    from safegen.models import load_base
    from safegen.training.effect import Meter
    from safegen.training.trainer import Trainer

    judge: Judge | None = None
    if _is_model(base):
        model = cast("TrainableModel", load_base(Path(base), digest=folder_digest(Path(base)), device=device))
        sampler = Sampler(model.size, drawing.steps or _STEPS, _GUIDANCE)
    else:
        entry = registry.base(base)
        model = cast("TrainableModel", load_base(registry.folder_of(entry), digest=entry.digest, device=device))
        sampler = Sampler(entry.size, drawing.steps or entry.steps, entry.guidance)
        if any(each.id == entry.id for each in registry.index.judges):
            judge = Judge.load(registry.folder_of(registry.judge(entry.id)))
    pictures = drawing.pictures if judge else min(drawing.pictures, _UNJUDGED)
    meter = Meter(model, judge, sampler, out / "pictures") if pictures else None
    return _Bench(model, Trainer(model, extra=_calibration(model)), meter, pictures)


def _calibration(model: TrainableModel) -> Callable[[Recipe], dict[str, object]]:
    """The metadata that calibrates a recipe's gate; ordinary prompts are read once, when the first asks."""
    from functools import cache

    from safegen.evaluation.gate_calibration import calibrate, text_space
    from safegen.spm.calibration import KEY

    space = cache(lambda: text_space(model))
    return lambda recipe: {KEY: calibrate(space(), recipe.phrases).to_metadata()}


def _one(recipe: Recipe, bench: _Bench, out: Path, console: Console, *, force: bool) -> _Done:
    from safegen.spm import read_spm
    from safegen.training.card import write_card
    from safegen.training.effect import plan
    from safegen.training.result import finished
    from safegen.training.scalars import tensorboard

    trained = None if force else finished(recipe, bench.base, out)
    skipped = trained is not None
    if trained is None:
        if recipe.method == "closed-form":
            trained = bench.trainer.train(recipe, out)
        else:
            with tensorboard(out / "logs" / recipe.id) as write, _losses(recipe, console) as show:
                trained = bench.trainer.train(recipe, out, report=lambda now: (write(now), show(now))[-1])
    effect = None
    if bench.meter:
        spm = read_spm(trained.path)
        wanted = plan(recipe, bench.trainer.neighbours(recipe), bench.pictures)
        drawn = bench.meter.bare(wanted), bench.meter.opened(wanted, spm)
        effect = bench.meter.effect(recipe, wanted, *drawn)
        write_card(recipe, trained, spm, wanted, drawn, effect)
    console.print(f"{recipe.id}: {_said(trained, effect, skipped=skipped)}", highlight=False)
    return _Done(recipe, trained, effect, skipped)


def _said(trained: Trained, effect: Effect | None, *, skipped: bool) -> str:
    said = "finished already" if skipped else f"{trained.seconds:.1f} s"
    if effect is None:
        return f"{said}, {trained.path}"
    if effect.target_before == 0:
        said += ", the base does not draw it: nothing to erase"
    return f"{said}, recognised {effect.target_before:.0%} -> {effect.target_after:.0%}"


@contextmanager
def _many(count: int, console: Console) -> Iterator[Callable[[str], None]]:
    """A bar over the recipes, if there are many."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    if count == 1:
        yield lambda _name: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=console) as bar:
        task = bar.add_task("recipes", total=count)
        yield lambda name: bar.update(task, advance=1, description=name)


@contextmanager
def _losses(recipe: Recipe, console: Console) -> Iterator[Callable[[Progress], None]]:
    """A bar over the updates of one recipe."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=console) as bar:
        task = bar.add_task(recipe.id, total=recipe.steps)

        def show(now: Progress) -> None:
            losses = f"{recipe.id} erasing {now.erasing:.4f} anchoring {now.anchoring:.5f}"
            bar.update(task, completed=now.done, description=losses)

        yield show
