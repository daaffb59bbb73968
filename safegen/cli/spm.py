"""`safegen spm`: train, evaluate, calibrate, list, show, verify and exchange SPM adapters.

Exit codes: 0 done, 1 error or a digest that does not hold, 2 usage, 130 interrupted.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from safegen.cli.spm_calibrate import calibrate
from safegen.cli.spm_evaluate import evaluate
from safegen.cli.spm_exchange import export_adapter, import_adapter
from safegen.cli.spm_registry import list_adapters, show_adapter, verify

if TYPE_CHECKING:
    from rich.console import Console

    from safegen.models import TrainableModel
    from safegen.spm import Registry
    from safegen.training.recipe import Recipe
    from safegen.training.result import Trained

app = typer.Typer(no_args_is_help=True, help="SPM adapters: train, evaluate, calibrate, list, show, verify, exchange.")
app.command("evaluate")(evaluate)
app.command("list")(list_adapters)
app.command("show")(show_adapter)
app.command("verify")(verify)
app.command("calibrate")(calibrate)
app.command("import")(import_adapter)
app.command("export")(export_adapter)
Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]

_INTERRUPTED = 130
_PREVIEW_STEPS, _PREVIEW_GUIDANCE = 20, 3.0


@app.command()
def train(
    recipes: Annotated[list[Path], typer.Argument(metavar="RECIPE...", help="Recipe files, trained in turn.")],
    out: Annotated[Path, typer.Option(help="Folder for the adapters.")] = Path("runs/spm"),
    steps: Annotated[int | None, typer.Option(min=1, help="Updates instead of the recipe's own number.")] = None,
    base: Annotated[str | None, typer.Option(help="Id or folder of a base model instead of the recipe's.")] = None,
    *,
    register: Annotated[bool, typer.Option("--register", help="Add the adapters to spm_models and its index.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Train again what is finished.")] = False,
    as_json: Json = False,
) -> None:
    """Train SPMs. A killed run goes on where it was; a finished one is skipped."""
    from rich.console import Console

    from safegen.training.recipe_file import read_recipe
    from safegen.training.registration import register as add
    from safegen.training.registration import registered_recipe

    console = Console(stderr=True, quiet=as_json)
    registry = _registry(needed=register or not _is_model(base))
    if register and _is_model(base):
        raise typer.BadParameter("the base must be one of the registry", param_hint="--register")
    # A folder is stated by its name alone: adapters carry no paths of the machine they were trained on.
    name = Path(base).name if base is not None and _is_model(base) else base
    changes = {key: value for key, value in (("steps", steps), ("base", name)) if value is not None}
    read = [read_recipe(path).model_copy(update=changes) for path in recipes]
    if register:
        for path in recipes:
            registered_recipe(registry, path)
    models: dict[str, TrainableModel] = {}
    results: list[dict[str, object]] = []
    for path, recipe in zip(recipes, read, strict=True):
        if recipe.base not in models:
            models[recipe.base] = _load(registry, base or recipe.base)
        try:
            trained, skipped = _train_one(recipe, models[recipe.base], out, console, force=force)
        except KeyboardInterrupt:
            Console(stderr=True).print(f"{recipe.id}: interrupted and saved; the same command goes on from there")
            raise typer.Exit(_INTERRUPTED) from None
        results.append(
            {
                "id": recipe.id,
                "path": str(trained.path),
                "digest": trained.digest,
                "seconds": trained.seconds,
                "skipped": skipped,
            }
        )
        if register:
            registry = add(registry, recipe, path, registry.base(recipe.base), trained)
    if as_json:
        typer.echo(json.dumps(results, indent=2))


def _is_model(base: str | None) -> bool:
    return base is not None and (Path(base) / "model_index.json").is_file()


def _registry(*, needed: bool) -> Registry:
    from safegen.data import data_folder
    from safegen.spm import Registry
    from safegen.spm.index import Index

    return Registry.open() if needed else Registry(folder=data_folder("spm_models"), index=Index())


def _load(registry: Registry, base: str) -> TrainableModel:
    from safegen.data import folder_digest
    from safegen.models import load_base

    if _is_model(base):
        return cast("TrainableModel", load_base(Path(base), digest=folder_digest(Path(base))))
    entry = registry.base(base)
    return cast("TrainableModel", load_base(registry.folder_of(entry), digest=entry.digest))


def _train_one(
    recipe: Recipe, model: TrainableModel, out: Path, console: Console, *, force: bool
) -> tuple[Trained, bool]:
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    from safegen.training.loop import Progress
    from safegen.training.loop import train as run
    from safegen.training.preview import write_preview
    from safegen.training.result import finished
    from safegen.training.scalars import tensorboard

    trained = None if force else finished(recipe, model, out)
    if skipped := trained is not None:
        console.print(f"{recipe.id}: finished already (--force trains it again)")
    if trained is None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Bar(*columns, console=console) as bar, tensorboard(out / "logs" / recipe.id) as write:
            task = bar.add_task(recipe.id, total=recipe.steps)

            def report(now: Progress) -> None:
                write(now)
                losses = f"erasing {now.erasing:.4f} anchoring {now.anchoring:.5f}"
                bar.update(task, completed=now.done, description=f"{recipe.id} {losses}")

            trained = run(recipe, model, out, report=report)
        console.print(f"{recipe.id}: {trained.path}, {trained.seconds:.0f} s")
    if not (skipped and trained.path.with_suffix(".md").is_file()):
        write_preview(recipe, model, trained, steps=_PREVIEW_STEPS, guidance=_PREVIEW_GUIDANCE)
    return trained, skipped
