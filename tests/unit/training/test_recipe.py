"""Recipes: what templates expand to, and what errors say."""

from __future__ import annotations

from pathlib import Path

import pytest

from safegen.data import data_folder
from safegen.errors import TrainingError
from safegen.training.recipe import Recipe
from safegen.training.recipe_file import find_recipe, read_recipe, read_recipes
from safegen.training.sticker.world import sticker_world

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
    """Every recipe that ships can be read, and its id is its file's path, or lies in its file's folder for a list."""
    folder = data_folder("spm_models") / "recipes"
    for path in (path for path in folder.rglob("*.yaml") if path.stem != "words"):
        recipes = read_recipes(path)
        place = path.relative_to(folder).with_suffix("").as_posix()
        assert [recipe.id for recipe in recipes] == [place] or all(
            recipe.id.startswith(f"{path.parent.name}/") for recipe in recipes
        )


def test_the_zoo_names_all_that_the_base_can_draw() -> None:
    """A recipe for every concept, style and memorised picture, with a surrogate that is not the concept."""
    recipes = read_recipes(find_recipe("sticker/zoo"))
    world = sticker_world()
    named = [each.name for each in (*world.concepts, *world.styles)] + [each.title for each in world.memorised]
    assert sorted(recipe.concept for recipe in recipes) == sorted(named)
    assert len({recipe.vocabulary() for recipe in recipes}) == 1


LIST = """\
words_from: words.yaml
shared: {category: object, words: {style: [ann]}}
groups:
  plain: {targets: ["{phrase} by {style}"], rank: 2, drift: 2 %}
recipes:
  - {id: a/cat, group: plain, concept: cat, phrases: [cat], surrogate: dog}
  - {id: a/dog, group: plain, concept: dog, phrases: [dog], surrogate: cat, rank: 1, words: {style: [bob, joe]}}
"""


def write_list(tmp_path: Path, text: str = LIST) -> Path:
    (tmp_path / "words.yaml").write_text("style: [far]\nthing: [sun]\n", encoding="utf-8")
    path = tmp_path / "zoo.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_list_shares_and_overrides(tmp_path: Path) -> None:
    """Entries take what is shared, then their group, then their own; words are merged list by list."""
    cat, dog = read_recipes(write_list(tmp_path))
    assert (cat.rank, dog.rank, cat.drift) == (2, 1, 0.02)
    assert cat.words == {"style": ("ann",), "thing": ("sun",)}
    assert [target for target, _ in dog.pairs()] == ["dog by bob", "dog by joe"]


@pytest.mark.parametrize(
    ("old", "new", "message", "line"),
    [
        ("group: plain, concept: dog", "group: fancy, concept: dog", "no group 'fancy'", 7),
        ("a/dog", "a/cat", "two recipes", 7),
        ("surrogate: cat", "surrogate: a dog", "names the concept itself", 7),
        ("rank: 1", "rank: 0", "greater than or equal to 1", 7),
        ("shared:", "common:", "unknown field 'common'", 2),
        ("drift: 2 %", "drift: lots", "valid number", 6),
    ],
)
def test_errors_in_a_list_have_a_place(tmp_path: Path, old: str, new: str, message: str, line: int) -> None:
    """An error names the line of the entry, and what is wrong with it."""
    with pytest.raises(TrainingError, match=message) as caught:
        read_recipes(write_list(tmp_path, LIST.replace(old, new)))
    assert int(caught.value.where.split(":")[-2]) in {line, line + 1, line - 1}


def test_a_recipe_is_found_by_its_name() -> None:
    """A shipped recipe goes by its path or its stem; a wrong name is answered with the nearest."""
    assert find_recipe("zoo") == find_recipe("sticker/zoo")
    with pytest.raises(TrainingError, match="did you mean 'sticker/zoo'"):
        find_recipe("sticker/zou")


def test_words_that_only_hold_the_name_are_no_concept() -> None:
    """`unless` keeps "hot dog" among the anchors of "dog"."""
    recipe = Recipe.model_validate(
        {"id": "a", "concept": "dog", "category": "animal", "phrases": ["dog"], "unless": ["hot dog"],
         "targets": ["a dog"], "surrogate": "a cat", "anchors": ["a hot dog", "two dogs", "a dog and a hot dog"]}
    )  # fmt: skip
    assert recipe.anchor_prompts() == ["a hot dog"]


def test_a_hardened_recipe_differs_in_what_it_says(recipe: Recipe) -> None:
    """It has a name of its own, more rank, a push beyond the surrogate and no budget; the loop has no such thing."""
    with pytest.raises(ValueError, match="only the closed form"):
        recipe.hardened()
    solved = recipe.model_copy(update={"method": "closed-form", "rank": 8})
    hardened = solved.hardened()
    assert (hardened.id, hardened.rank, hardened.eta, hardened.drift) == ("tiny/cat-hardened", 8, 6.0, 1.0)
    assert hardened.pairs() == solved.pairs()
    assert hardened.digest != solved.digest
