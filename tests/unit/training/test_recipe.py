"""Recipes: what templates expand to, and what errors say."""

from __future__ import annotations

from pathlib import Path

import pytest

from safegen.data import data_folder
from safegen.errors import TrainingError
from safegen.training.recipe import Recipe
from safegen.training.recipe_file import read_recipe

GOOD = """\
id: tiny/cat
concept: cat
category: object
phrases: [cat]
targets:
  - {prompt: "a cat by {style}", surrogate: "a dog by {style}"}
anchors: ["a dog"]
words: {style: [ann]}
"""


def test_pairs_and_anchors(recipe: Recipe) -> None:
    """Each target is paired with its own surrogate, and no anchor names the concept, not in the plural either."""
    assert ("kitten by bob", "dog by bob") in recipe.pairs()
    assert len(recipe.pairs()) == 4
    assert sorted(recipe.anchor_prompts()) == ["dog by ann", "dog by bob", "owl by ann", "owl by bob"]


@pytest.mark.parametrize(
    ("old", "new", "where", "message"),
    [
        ("category: object", "category: object\nbatch: 0", ":4:1", "batch"),
        ("category: object", "category: object\ncolour: red", ":4:1", "colour"),
        ('anchors: ["a dog"]', 'anchors: ["a dog", "{thing}"]', ":7:20", "{thing} stands for nothing"),
        ("a dog by {style}", "a dog by {stile}", ":6:5", "{stile}"),
        ("a dog by {style}", "cats by {style}", ":6:5", "names the concept itself"),
        ("concept: cat\n", "", ":1:1", "concept"),
        ("phrases: [cat]", "phrases: [cat", ":5:", "YAML"),
    ],
)
def test_errors_have_a_place(tmp_path: Path, old: str, new: str, where: str, message: str) -> None:
    """An error names the file, the line and what is wrong."""
    path = tmp_path / "cat.yaml"
    path.write_text(GOOD.replace(old, new), encoding="utf-8")
    with pytest.raises(TrainingError) as caught:
        read_recipe(path)
    assert caught.value.where.startswith(f"{path}{where}")
    assert message in caught.value.message


def test_shipped_recipes_are_valid() -> None:
    """Every recipe that ships can be read, and its id is its path."""
    folder = data_folder("spm_models") / "recipes"
    for path in (path for path in folder.rglob("*.yaml") if path.stem != "words"):
        assert read_recipe(path).id == path.relative_to(folder).with_suffix("").as_posix()
