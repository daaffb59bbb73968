"""The prompts that a shipped adapter was made with, from its recipe; baselines get the same ones."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

from safegen.training.recipe import Recipe
from safegen.training.recipe_file import read_recipes

if TYPE_CHECKING:
    from erasure_parts.context import Context


def recipe_of(context: Context, name: str) -> Recipe:
    """The recipe of a concept's adapter; a file may hold many."""
    entry = context.zoo[name]
    for recipe in read_recipes(context.registry.folder / entry.recipe):
        if recipe.id == entry.id:
            return recipe
    raise KeyError(entry.id)


def pairs(context: Context, name: str) -> list[tuple[str, str]]:
    """Each target prompt with its surrogate."""
    return list(dict.fromkeys(recipe_of(context, name).pairs()))


def trained_prompts(context: Context, name: str) -> frozenset[str]:
    """All target prompts of the recipe."""
    return frozenset(target for target, _ in pairs(context, name))


def folder_of(context: Context, name: str, updates: int) -> Path:
    """Where what is made of these prompts with that budget is kept."""
    digest = hashlib.sha256(json.dumps(pairs(context, name)).encode()).hexdigest()[:8]
    return context.work / "baselines" / f"{name}-{updates}-{digest}".replace(" ", "-")
