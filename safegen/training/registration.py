"""Puts a finished SPM into the registry.

Invariant: the entry's recipe is a file of the registry's folder, so that whoever reads the index can train it again.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from safegen.errors import TrainingError
from safegen.spm import AdapterEntry, BaseEntry, Registry
from safegen.training.card import PICTURE
from safegen.training.effect import Effect
from safegen.training.recipe import Recipe
from safegen.training.result import Trained


def registered_recipe(registry: Registry, path: Path) -> str:
    """The recipe file's path inside the registry's folder.

    Raises:
        TrainingError: it lies elsewhere.
    """
    try:
        return path.resolve().relative_to(registry.folder.resolve()).as_posix()
    except ValueError as error:
        hint = f"put it under {registry.folder / 'recipes'}"
        raise TrainingError("only recipes of the registry can be registered", where=str(path), hint=hint) from error


def register(
    registry: Registry,
    recipe: Recipe,
    recipe_path: Path,
    base: BaseEntry,
    trained: Trained,
    effect: Effect | None = None,
) -> Registry:
    """Copy the SPM, its picture and its card into the registry's folder, and write its entry into the index.

    Raises:
        TrainingError: the recipe lies outside the registry's folder.
    """
    entry = AdapterEntry(
        id=recipe.id,
        path=f"adapters/{recipe.id}.safetensors",
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
        recipe=registered_recipe(registry, recipe_path),
        measured=effect.measured() if effect else {},
    )
    home = registry.folder / entry.path
    home.parent.mkdir(parents=True, exist_ok=True)
    for suffix in (".safetensors", PICTURE, ".md"):
        if (made := trained.path.with_suffix(suffix)).is_file():
            shutil.copyfile(made, home.with_suffix(suffix))
    registry = registry.with_entry("adapters", entry)
    registry.save()
    return registry
