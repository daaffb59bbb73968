"""`safegen spm`: train, list, show and verify SPM adapters."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from safegen.models import TrainableModel
    from safegen.spm import BaseEntry, Registry
    from safegen.training.loop import Trained
    from safegen.training.recipe import Recipe

app = typer.Typer(no_args_is_help=True, help="SPM adapters: train, list, show, verify.")
Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]


@app.command()
def train(
    recipes: Annotated[list[Path], typer.Argument(help="Recipe files; trained one after the other.")],
    out: Annotated[Path, typer.Option(help="Folder for the adapters.")] = Path("runs/spm"),
    rounds: Annotated[int | None, typer.Option(help="Rounds instead of the recipe's own number.")] = None,
    register: Annotated[bool, typer.Option(help="Move the adapters into spm_models and its index.")] = False,
    force: Annotated[bool, typer.Option(help="Train again what is finished.")] = False,
    as_json: Json = False,
) -> None:
    """Train SPMs. A killed run goes on where it was; a finished one is skipped."""
    from safegen.models import load_base
    from safegen.spm import Registry
    from safegen.training.recipe import read_recipe

    registry = Registry.open()
    read = [read_recipe(path) for path in recipes]
    if rounds is not None:
        read = [recipe.model_copy(update={"rounds": rounds}) for recipe in read]
    models: dict[str, TrainableModel] = {}
    results = []
    for recipe in read:
        base = registry.base(recipe.base)
        if base.id not in models:
            models[base.id] = load_base(registry.folder_of(base), digest=base.digest)
        trained = _train_one(recipe, models[base.id], out, force=force, quiet=as_json)
        if trained is None:
            continue
        results.append({"id": recipe.id, "path": str(trained.path), "digest": trained.digest, "seconds": trained.seconds})
        if register:
            registry = _register(registry, recipe, base, trained)
            registry.save()
    if as_json:
        typer.echo(json.dumps(results, indent=2))


def _train_one(recipe: Recipe, model: TrainableModel, out: Path, *, force: bool, quiet: bool) -> Trained | None:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from safegen.training.loop import Trainer
    from safegen.training.preview import draw_preview, write_card

    console = Console(stderr=True, quiet=quiet)
    trainer = Trainer(recipe, model, out)
    if trainer.path.is_file() and not force:
        console.print(f"{recipe.id}: finished already, {trainer.path} (--force trains it again)")
        return None
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(recipe.id, total=recipe.rounds)
        trained = trainer.train(
            lambda done, erasing, anchoring: progress.update(
                task, completed=done, description=f"{recipe.id} erasing {erasing:.3f} anchoring {anchoring:.5f}"
            )
        )
    draw_preview(recipe, model, trained.path).save(trained.path.with_suffix(".png"))
    write_card(recipe, trained)
    console.print(f"{recipe.id}: {trained.path}, {trained.seconds:.0f} s")
    return trained


def _register(registry: Registry, recipe: Recipe, base: BaseEntry, trained: Trained) -> Registry:
    import shutil

    from safegen.spm import AdapterEntry

    home = Path("adapters") / base.id
    (registry.folder / home).mkdir(parents=True, exist_ok=True)
    for suffix in (".safetensors", ".png", ".md"):
        shutil.copyfile(trained.path.with_suffix(suffix), registry.folder / home / (trained.path.stem + suffix))
    entry = AdapterEntry(
        id=recipe.id,
        path=(home / trained.path.name).as_posix(),
        digest=trained.digest,
        licence="Apache-2.0",
        concept=recipe.concept,
        category=recipe.category,
        phrases=recipe.phrases,
        base=base.id,
        base_digest=base.digest,
        family=base.family,
        rank=recipe.rank,
        alpha=recipe.alpha,
        recipe=f"recipes/{recipe.id}.yaml",
    )
    return registry.with_entry("adapters", entry)


@app.command("list")
def list_adapters(as_json: Json = False) -> None:
    """List the adapters of the registry."""
    from rich.console import Console
    from rich.table import Table

    from safegen.spm import Registry

    entries = Registry.open().index.adapters
    if as_json:
        typer.echo(json.dumps([entry.model_dump(mode="json") for entry in entries], indent=2))
        return
    table = Table()
    for column in ("id", "concept", "category", "base", "rank", "target before", "target after", "neighbours"):
        table.add_column(column)
    for entry in entries:
        seen = [entry.measured.get(key) for key in ("target_before", "target_after", "neighbours_change")]
        shown = [f"{value:.0%}" if value is not None else "not measured" for value in seen]
        table.add_row(entry.id, entry.concept, entry.category, entry.base, str(entry.rank), *shown)
    Console().print(table)


@app.command()
def show(adapter: Annotated[str, typer.Argument(help="Id of an adapter.")], as_json: Json = False) -> None:
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
def verify(as_json: Json = False) -> None:
    """Check the digest of every model and adapter of the registry; exits with 1 if one does not hold."""
    from safegen.errors import SafegenError
    from safegen.spm import Registry, read_spm

    registry = Registry.open()
    index = registry.index
    results: list[dict[str, str]] = []
    for entry in (*index.bases, *index.reviewers, *index.judges, *index.adapters):
        problem = ""
        try:
            if entry in index.adapters:
                read_spm(registry.folder / entry.path, expected=entry.digest)
            else:
                registry.folder_of(entry)  # type: ignore[arg-type] # all but adapters are model entries
        except SafegenError as error:
            problem = str(error)
        results.append({"id": entry.id, "digest": entry.digest, "problem": problem})
    if as_json:
        typer.echo(json.dumps(results, indent=2))
    else:
        for result in results:
            typer.echo(f"{'FAILED' if result['problem'] else 'ok':7}{result['id']}  {result['problem']}")
    if any(result["problem"] for result in results):
        raise typer.Exit(1)
