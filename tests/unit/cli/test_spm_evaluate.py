"""`safegen spm evaluate`, on the shipped base."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from safegen.cli import app

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
