"""The schema file."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from typer.testing import CliRunner

from safegen.cli.policy import app
from safegen.policy.document import read_document

FOLDER = Path(__file__).parents[3] / "policies"
FILES = sorted(FOLDER.rglob("*.yaml"))


@pytest.mark.parametrize(("name", "options"), [("schema.json", []), ("test.schema.json", ["--tests"])])
def test_the_schema_files_are_up_to_date(name: str, options: list[str]) -> None:
    """The schemas beside the shipped policies are what `safegen policy schema` writes."""
    assert (FOLDER / name).read_text(encoding="utf-8") == CliRunner().invoke(app, ["schema", *options]).stdout


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_shipped_files_follow_their_schema(path: Path) -> None:
    """An editor that checks a shipped file against the schema has nothing to say, and says so of a misspelt field."""
    first = path.read_text(encoding="utf-8").splitlines()[0]
    name = "test.schema.json" if path.stem.endswith("_test") else "schema.json"
    named = (path.parent / first.removeprefix("# yaml-language-server: $schema=")).resolve()
    assert named == FOLDER / name
    data = read_document(path.read_bytes(), path.name).data
    validator = jsonschema.Draft202012Validator(json.loads(named.read_text(encoding="utf-8")))
    assert [one.message for one in validator.iter_errors(data)] == []
    assert not validator.is_valid({**data, "mispelt": 1})
