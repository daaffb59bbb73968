"""`safegen spm` over a small registry of its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from safegen.cli.spm import app
from safegen.data import folder_digest
from safegen.errors import TrainingError
from safegen.models import TrainableModel
from safegen.spm import BaseEntry, Registry
from safegen.spm.index import Index
from safegen.training.loop import train
from safegen.training.recipe import Recipe
from safegen.training.registration import register


@pytest.fixture
def registry(base: TrainableModel, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """One base and one registered adapter."""
    folder = tmp_path / "spm_models"
    (folder / "bases" / "tiny").mkdir(parents=True)
    (folder / "bases" / "tiny" / "model_index.json").write_text("{}")
    entry = BaseEntry(
        id="tiny", path="bases/tiny", digest=folder_digest(folder / "bases" / "tiny"), licence="MIT", family="sd1",
        size=16, guidance=3, steps=4,
    )  # fmt: skip
    trained = train(recipe, base, tmp_path / "out")
    for suffix in (".webp", ".md"):
        trained.path.with_suffix(suffix).write_bytes(b"")
    monkeypatch.setattr("safegen.spm.registry.data_folder", lambda _name: folder)
    bare = Registry(folder, Index(bases=(entry,)))
    stated = folder / "recipes" / "tiny" / "cat.yaml"
    stated.parent.mkdir(parents=True)
    stated.write_text(recipe.model_dump_json(), encoding="utf-8")
    return register(bare, recipe, stated, entry, trained)


def test_list_and_show(registry: Registry) -> None:
    """A registered adapter is listed, and shown with its file's metadata."""
    listed = json.loads(CliRunner().invoke(app, ["list", "--json"]).stdout)
    assert [entry["recipe"] for entry in listed] == ["recipes/tiny/cat.yaml"]
    shown = json.loads(CliRunner().invoke(app, ["show", "tiny/cat", "--json"]).stdout)
    assert shown["metadata"]["prompts"] == "cat,kitten"
    assert CliRunner().invoke(app, ["list"]).exit_code == 0


def test_verify_finds_a_changed_byte(registry: Registry) -> None:
    """Verification passes on what was registered, and exits with 1 once a byte of an adapter differs."""
    verified = CliRunner().invoke(app, ["verify"])
    assert verified.exit_code == 0, verified.output
    path = registry.folder / registry.adapter("tiny/cat").path
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    result = CliRunner().invoke(app, ["verify", "--json"])
    assert result.exit_code == 1
    assert [entry["id"] for entry in json.loads(result.stdout) if entry["problems"]] == ["tiny/cat"]


def test_a_recipe_outside_the_registry_is_not_registered(
    registry: Registry, base: TrainableModel, recipe: Recipe, tmp_path: Path
) -> None:
    """The index never names a recipe that does not ship with it."""
    trained = train(recipe, base, tmp_path / "again")
    with pytest.raises(TrainingError, match="only recipes of the registry"):
        register(registry, recipe, tmp_path / "cat.yaml", registry.base("tiny"), trained)
