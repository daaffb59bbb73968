"""`safegen spm evaluate`, on the shipped base."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from safegen.cli import app
from safegen.data import data_folder
from safegen.spm import Registry

RUN = CliRunner()


def test_one_adapter_is_measured_and_reported(tmp_path: Path) -> None:
    """Few pictures; the report's three files, the exported pictures, and JSON on standard output."""
    size = ["--pictures", "2", "--neighbours", "1", "--kept", "1"]
    command = ["spm", "evaluate", "sticker/cat", "--out", str(tmp_path), *size, "--export", "--json"]
    result = RUN.invoke(app, command)
    assert result.exit_code == 0, result.output
    (record,) = json.loads(result.stdout)
    target = record["cells"][0]
    assert (target["role"], target["name"], target["pictures"]) == ("target", "cat", 2)
    assert target["before"]["value"] > target["after"]["value"]
    assert json.loads((tmp_path / "evaluation.json").read_text()) == [record]
    assert (tmp_path / "evaluation.html").is_file()
    assert (tmp_path / "evaluation.md").is_file()
    assert (tmp_path / "export" / "sticker/cat" / "prompts.csv").is_file()


def test_what_is_written_into_the_index_is_of_these_pictures_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Number of pictures and steps are the measurement's own, and nothing of an earlier one is left."""
    copy = tmp_path / "spm_models"
    copy.mkdir()
    for path in data_folder("spm_models").iterdir():
        (copy / path.name).symlink_to(path)
    (copy / "index.json").unlink()
    shutil.copy(data_folder("spm_models") / "index.json", copy / "index.json")
    monkeypatch.setattr("safegen.spm.registry.data_folder", lambda _name: copy)
    size = ["--pictures", "2", "--neighbours", "0", "--kept", "1", "--gate", "open"]
    result = RUN.invoke(app, ["spm", "evaluate", "sticker/neon", "--out", str(tmp_path / "out"), *size, "--write"])
    assert result.exit_code == 0, result.output
    written = Registry.open().adapter("sticker/neon").measured
    assert {key: written[key] for key in ("pictures", "pictures_before", "picture_steps")} == {
        "pictures": 2, "pictures_before": 2, "picture_steps": 20,
    }  # fmt: skip
    assert "content_kept" in written
    assert "unseen_after" not in written


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "ADAPTERS"),
        (["sticker/cat", "--all"], "ADAPTERS"),
        (["sticker/cat", "--gate", "ajar"], "ajar"),
        (["sticker/cat", "--together", "--write"], "--write"),
    ],
)
def test_a_contradictory_command_is_refused_before_anything_is_loaded(arguments: list[str], said: str) -> None:
    """Exit code 2, and the option that is wrong."""
    result = RUN.invoke(app, ["spm", "evaluate", *arguments])
    assert result.exit_code == 2
    assert said in result.output
