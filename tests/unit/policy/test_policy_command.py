"""The command `safegen policy`."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from safegen.cli.policy import app
from safegen.policy import policy_schema_text

ROOT = Path(__file__).parents[3]
DEFAULT = str(ROOT / "policies" / "default.yaml")
BROKEN = str(ROOT / "tests" / "golden" / "policy" / "misspelt.yaml")
RUNNER = CliRunner()


def test_check_passes_the_default_policy() -> None:
    """The shipped policy has no problems."""
    result = RUNNER.invoke(app, ["check", DEFAULT])
    assert result.exit_code == 0
    assert "ok: default version 1" in result.output


def test_check_shows_carets_and_hints() -> None:
    """A broken file gives exit code 1 and every problem with caret and hint."""
    result = RUNNER.invoke(app, ["check", DEFAULT, BROKEN])
    assert result.exit_code == 1
    assert "did you mean `refuse`?" in result.output
    assert "^^^^^" in result.output


def test_check_writes_json() -> None:
    """Programs get one entry for each file, with its diagnostics."""
    result = RUNNER.invoke(app, ["check", "--json", DEFAULT, BROKEN, "none.yaml"])
    assert result.exit_code == 1
    assert [one["ok"] for one in json.loads(result.output)] == [True, False, False]
    assert json.loads(result.output)[1]["diagnostics"][0]["line"] == 1


def test_check_without_files_is_misuse() -> None:
    """No file to check is a usage error."""
    assert RUNNER.invoke(app, ["check"]).exit_code == 2


def test_explain_shows_rule_and_words() -> None:
    """The explanation names the rules, the words and the adapters."""
    result = RUNNER.invoke(app, ["explain", "a kitten [red]", "--policy", DEFAULT])
    assert result.exit_code == 0
    assert all(word in result.output for word in ("no-cats", "kitten", "sticker/cat", "nudenet"))


def test_explain_tells_a_refusal_by_its_exit_code() -> None:
    """A refused prompt gives exit code 3, with and without JSON."""
    assert RUNNER.invoke(app, ["explain", "naked"]).exit_code == 3
    result = RUNNER.invoke(app, ["explain", "naked", "--json"])
    assert (result.exit_code, json.loads(result.output)["action"]) == (3, "refuse")


def test_explain_with_a_broken_policy_is_an_error() -> None:
    """A policy that does not load gives exit code 1."""
    assert RUNNER.invoke(app, ["explain", "a cat", "--policy", BROKEN]).exit_code == 1


def test_explain_rejects_what_is_no_text() -> None:
    """A prompt with undecodable bytes is a usage error."""
    assert RUNNER.invoke(app, ["explain", "a \udcff cat"]).exit_code == 2


def test_schema_is_written() -> None:
    """The schema command writes the schema."""
    assert RUNNER.invoke(app, ["schema"]).output == policy_schema_text()


def test_explain_shows_what_did_not_apply_and_why() -> None:
    """Rules lifted by an exception, for other requests or in shadow stand in the table with their reason."""
    museum = str(ROOT / "policies" / "overlay-example" / "tenant-museum.yaml")
    options = ["--policy", museum, "--tenant", "museum", "--now", "2026-06-01", "--json"]
    trace = json.loads(RUNNER.invoke(app, ["explain", "a selfie with a nude statue", *options]).output)["trace"]
    assert {(one["match"]["rule"], one["status"], one["because"]) for one in trace} == {
        ("tenant-museum.selfies", "shadow", ""),
        ("company.nudity", "excepted", "tenant-museum.art"),
    }
    late = RUNNER.invoke(
        app, ["explain", "a nude statue", "--policy", museum, "--tenant", "museum", "--now", "2026-10-01"]
    )
    assert late.exit_code == 3
    shown = RUNNER.invoke(app, ["explain", "a glue gun", "--policy", DEFAULT], env={"COLUMNS": "200"})
    assert "allowed by harmless-words" in " ".join(shown.output.split())


def test_explain_shows_the_redacted_prompt() -> None:
    """What is drawn instead of the prompt is printed."""
    styles = str(ROOT / "policies" / "artist-styles.yaml")
    assert (
        "drawn as: a castle by an artist"
        in RUNNER.invoke(app, ["explain", "a castle by Banksy", "--policy", styles]).output
    )


def test_explain_rejects_attributes_that_are_none() -> None:
    """An age gate that is no state of one is a usage error."""
    assert RUNNER.invoke(app, ["explain", "a cat", "--age-gate", "maybe"]).exit_code == 2
