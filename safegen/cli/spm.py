"""`safegen spm`: train, evaluate, list, show, verify and exchange SPM adapters.

Exit codes: 0 done, 1 error or a digest that does not hold, 2 usage, 130 interrupted.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from safegen.cli.spm_evaluate import evaluate
from safegen.cli.spm_exchange import export_adapter, import_adapter

if TYPE_CHECKING:
    from rich.console import Console

    from safegen.models import TrainableModel
    from safegen.spm import AdapterEntry, ModelEntry, Registry
    from safegen.training.recipe import Recipe
    from safegen.training.result import Trained

app = typer.Typer(no_args_is_help=True, help="SPM adapters: train, evaluate, list, show, verify, exchange.")
app.command("evaluate")(evaluate)
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


@app.command("list")
def list_adapters(*, as_json: Json = False) -> None:
    """List the adapters of the registry."""
    from rich.console import Console
    from rich.table import Table

    from safegen.spm import Registry

    entries = Registry.open().index.adapters
    if as_json:
        typer.echo(json.dumps([entry.model_dump(mode="json") for entry in entries], indent=2))
        return
    table = Table()
    for column in ("id", "concept", "category", "base", "rank", "target before", "target after", "worst neighbour"):
        table.add_column(column)
    for entry in entries:
        seen = [entry.measured.get(key) for key in ("target_before", "target_after", "neighbours_change")]
        shown = [f"{value:.0%}" if value is not None else "not measured" for value in seen]
        table.add_row(entry.id, entry.concept, entry.category, entry.base, str(entry.rank), *shown)
    Console().print(table)


@app.command()
def show(adapter: Annotated[str, typer.Argument(help="Id of an adapter.")], *, as_json: Json = False) -> None:
    """Show one adapter: its entry, its file's metadata, its size."""
    from safegen.spm import Registry, read_spm

    registry = Registry.open()
    entry = registry.adapter(adapter)
    spm = read_spm(registry.folder / entry.path, expected=entry.digest)
    shown = {**entry.model_dump(mode="json"), "layers": len(spm.layers), "parameters": spm.parameters}
    shown["metadata"] = dict(spm.metadata)
    if as_json:
        typer.echo(json.dumps(shown, indent=2))
        return
    for key, value in shown.items():
        typer.echo(f"{key:12} {json.dumps(value) if isinstance(value, dict | list | tuple) else value}")


@app.command()
def verify(*, as_json: Json = False) -> None:
    """Check the digest of every model and adapter of the registry; exits with 1 if one does not hold."""
    from safegen.spm import Registry

    registry = Registry.open()
    index = registry.index
    models = {"base": index.bases, "reviewer": index.reviewers, "judge": index.judges}
    checked = [(kind, entry.id, _problem(registry, entry)) for kind, entries in models.items() for entry in entries]
    checked += [("adapter", entry.id, _adapter_problem(registry, entry)) for entry in index.adapters]
    if as_json:
        keys = ("kind", "id", "problem")
        typer.echo(json.dumps([dict(zip(keys, row, strict=True)) for row in checked], indent=2))
    else:
        for kind, name, problem in checked:
            typer.echo(f"{'FAILED' if problem else 'ok':7}{kind:9}{name}  {problem}")
    if any(problem for _, _, problem in checked):
        raise typer.Exit(1)


def _problem(registry: Registry, entry: ModelEntry) -> str:
    from safegen.errors import SafegenError

    try:
        registry.folder_of(entry)
    except SafegenError as error:
        return str(error)
    return ""


def _adapter_problem(registry: Registry, entry: AdapterEntry) -> str:
    from safegen.errors import SafegenError
    from safegen.spm import read_spm

    try:
        read_spm(registry.folder / entry.path, expected=entry.digest)
        if registry.base(entry.base).digest != entry.base_digest:
            return f"it was trained on another version of the base {entry.base!r}"
    except SafegenError as error:
        return str(error)
    return ""
