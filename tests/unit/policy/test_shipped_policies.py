"""The shipped policies: checked, tested, laid out, and able to run on the shipped base."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from safegen.cli.policy import app
from safegen.policy import load_policy_file

FOLDER = Path(__file__).parents[3] / "policies"
FILES = sorted(FOLDER.rglob("*.yaml"))
POLICIES = [path for path in FILES if not path.stem.endswith("_test")]
NAMES = {"default", "nudity", "minors", "violence-and-weapons", "artist-styles", "ip-characters", "memorised-images"}
RUNNER = CliRunner()


def test_all_are_there() -> None:
    """The promised policies and the three levels of the overlay example are shipped."""
    assert {path.stem for path in POLICIES} == NAMES | {"company", "market-de", "tenant-museum"}


def test_their_tests_pass_and_reach_every_rule() -> None:
    """`safegen policy test policies --coverage 100` succeeds."""
    result = RUNNER.invoke(app, ["test", str(FOLDER), "--coverage", "100"])
    assert result.exit_code == 0, result.output


def test_they_are_in_the_one_layout() -> None:
    """`safegen policy fmt --check` finds nothing to change."""
    result = RUNNER.invoke(app, ["fmt", "--check", *map(str, FILES)])
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("path", POLICIES, ids=lambda path: path.stem)
def test_analysis_finds_no_error_and_no_dead_rule(path: Path) -> None:
    """Each can run on its base, and each of its rules can act."""
    result = RUNNER.invoke(app, ["analyze", str(path), "--now", "2026-06-01"])
    assert result.exit_code == 0, result.output
    assert not any(code in result.output for code in ("dead-rule", "shadowed-rule", "conflict")), result.output


def test_rules_for_minors_are_absolute() -> None:
    """No exception can lift a rule that protects minors."""
    rules = load_policy_file(FOLDER / "minors.yaml").rules
    assert {rule.model_dump()["absolute"] for rule in rules} == {True}
