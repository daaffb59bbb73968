"""`safegen spm list | show | verify | calibrate` on a registry of their own."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner, Result

from safegen.cli import app
from safegen.spm import Registry
from safegen.spm.tensor_reading import read_tensors

if TYPE_CHECKING:
    from pathlib import Path

RUNNER = CliRunner()


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory, registry: Registry) -> Path:
    """A registry with the sticker base's text side and three adapters."""
    folder = tmp_path_factory.mktemp("registry") / "spm_models"
    shutil.copytree(registry.folder, folder, ignore=shutil.ignore_patterns("*.png", "*.webp", "watercolour", "dusk"))
    kept = [registry.adapter(name) for name in ("sticker/cat", "sticker/pistol", "sticker/neon")]
    index = registry.index.model_copy(update={"adapters": tuple(kept), "bases": (registry.base("sticker"),)})
    Registry(folder, index).save()
    return folder


def run(*arguments: str) -> Result:
    return RUNNER.invoke(app, ["spm", *arguments])


def test_list_filters(copy: Path) -> None:
    """By words of id, concept and phrases, and by category; JSON is the entries."""
    found = run("list", "handgun", "--registry", str(copy), "--json")
    assert [entry["id"] for entry in json.loads(found.stdout)] == ["sticker/pistol"]
    styles = run("list", "--category", "style", "--registry", str(copy), "--json")
    assert [entry["id"] for entry in json.loads(styles.stdout)] == ["sticker/neon"]
    assert "no adapter matches" in run("list", "ostrich", "--registry", str(copy)).stdout


def test_calibrate_keeps_tensors_and_states_the_new_digest(copy: Path) -> None:
    """The file gets a calibration, the index its digest and summary, and the registry is whole afterwards."""
    path = copy / Registry.open(copy).adapter("sticker/cat").path
    before = read_tensors(path)
    (copy / "ordinary.txt").write_text("a dog\na wolf, pencil style\na teapot on a table\n" * 10, encoding="utf-8")
    done = run(
        *("calibrate", "sticker/cat", "--registry", str(copy), "--write", "--json"),
        *("--plot", str(copy / "cat.svg"), "--benign", str(copy / "ordinary.txt")),
    )
    assert done.exit_code == 0, done.output
    after, entry = read_tensors(path), Registry.open(copy).adapter("sticker/cat")
    assert all(after.tensors[key].equal(before.tensors[key]) for key in before.tensors)
    assert entry.digest == after.digest == json.loads(done.stdout)["digest"] != before.digest
    assert entry.calibration is not None
    assert entry.calibration.benign_open == 0
    assert (copy / "cat.svg").read_text(encoding="utf-8").lstrip().startswith("<?xml")
    assert "cut-off" in run("show", "sticker/cat", "--registry", str(copy)).stdout
    assert run("verify", "--registry", str(copy)).exit_code == 0


def test_verify_names_each_broken_thing(copy: Path, tmp_path: Path) -> None:
    """A changed byte, a lost file, a lost recipe, a false rank and another base's digest: all of them, by name."""
    folder = tmp_path / "broken"
    shutil.copytree(copy, folder)
    registry = Registry.open(folder)
    cat, pistol, neon = (registry.adapter(f"sticker/{name}") for name in ("cat", "pistol", "neon"))
    (folder / cat.path).write_bytes((folder / cat.path).read_bytes()[:-1] + b"\1")
    (folder / pistol.path).unlink()
    (folder / neon.recipe).unlink()
    registry = registry.with_entry("adapters", neon.model_copy(update={"rank": 3, "base_digest": cat.digest}))
    registry.save()
    done = run("verify", "--registry", str(folder), "--json")
    problems = {row["id"]: " ".join(row["problems"]) for row in json.loads(done.stdout) if row["kind"] == "adapter"}
    assert done.exit_code == 1
    assert "digest" in problems["sticker/cat"]
    assert "missing" in problems["sticker/pistol"]
    assert all(word in problems["sticker/neon"] for word in ("recipe", "rank 3", "another version of the base"))


def test_a_file_that_is_no_adapter_is_an_error(copy: Path, tmp_path: Path) -> None:
    """A file without a base in its metadata, and an id that is not there, say what to do."""
    assert "sticker/cat" in str(run("calibrate", "sticker/cta", "--registry", str(copy)).exception)
    bare = tmp_path / "bare.safetensors"
    bare.write_bytes(b"no tensors")
    assert "safetensors" in str(run("calibrate", str(bare), "--registry", str(copy)).exception)
