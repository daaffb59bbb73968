"""Tests beside policies, and the command that runs them."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from typer.testing import CliRunner

from safegen.cli.policy import app
from safegen.errors import PolicySyntaxError
from safegen.policy.suite import load_suite, suites_beside

POLICY = """
apiVersion: safegen/v1
kind: Policy
id: p
version: 1
base: sticker
concepts:
  - {name: cat, category: animal, phrases: [cat], adapter: sticker/cat}
rules:
  - {id: cats, match: {concepts: [cat]}, action: erase}
  - {id: guns, match: {phrases: [gun]}, action: refuse, reason: No., when: {age_gate: [failed, unknown]}}
  - {id: dogs, match: {phrases: [dog]}, action: refuse, reason: No., mode: shadow}
  - {id: look, match: any, action: review, reviews: [{reviewer: nudenet}]}
exceptions:
  - {id: press, rules: [guns], match: {phrases: [gun salute]}, owner: Ana, reason: News, expires: 2026-06-30}
"""
SUITE = """
apiVersion: safegen/v1
kind: PolicyTest
policy: p.yaml
now: 2026-06-30
fixtures: {adult: {age_gate: passed}}
cases:
  - {prompts: [a cat, two c a t s], expect: {action: erase, rules: [cats], bundle: [cat], reviewers: [nudenet]}}
  - {prompts: [a gun], expect: {action: refuse, refused_by: guns}}
  - {prompts: [a gun], fixture: adult}
  - {prompts: [a gun salute]}
  - {prompts: [a dog], expect: {action: review, shadow: [dogs]}}
untouched: [a tree, a catalogue]
"""
RUNNER = CliRunner()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "p.yaml").write_text(POLICY, encoding="utf-8")
    (tmp_path / "p_test.yaml").write_text(SUITE, encoding="utf-8")
    return tmp_path


def ran(folder: Path, suite: str, *options: str) -> tuple[int, list[dict[str, object]]]:
    (folder / "p_test.yaml").write_text(suite, encoding="utf-8")
    result = RUNNER.invoke(app, ["test", str(folder), "--json", *options])
    return result.exit_code, json.loads(result.output)


def problems(folder: Path, suite: str) -> list[str]:
    _, [one] = ran(folder, suite)
    return [problem for case in one["cases"] for problem in case["problems"]]  # type: ignore[attr-defined]


def test_a_true_suite_passes(folder: Path) -> None:
    """Prompts, fixtures, the frozen day, shadow rules and untouched prompts all come out as written."""
    code, [one] = ran(folder, SUITE, "--coverage", "100")
    assert (code, one["ok"], one["coverage"]) == (0, True, 1.0)


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("action: erase", "action: refuse", "erase instead of refuse"),
        ("rules: [cats]", "rules: [cats, dogs]", "rule dogs is missing"),
        ("rules: [cats]", "rules: []", "rule cats was not expected"),
        ("bundle: [cat]", "bundle: []", "erased concept cat was not expected"),
        ("reviewers: [nudenet]", "reviewers: [open_clip]", "reviewer nudenet was not expected"),
        ("refused_by: guns", "refused_by: cats", "refused by guns instead of cats"),
        ("shadow: [dogs]", "shadow: [guns]", "shadow rule guns is missing"),
        ("a catalogue", "a cat", "touched by cats because of 'cat'"),
        ("2026-06-30", "2026-07-01", "touched by guns because of 'gun'"),
        (", fixture: adult", "", "touched by guns because of 'gun'"),
    ],
)
def test_a_false_suite_fails_and_says_why(folder: Path, old: str, new: str, problem: str) -> None:
    """Each kind of wrong expectation is a failure with the difference in words."""
    assert problem in problems(folder, SUITE.replace(old, new))


def test_coverage_is_a_threshold(folder: Path) -> None:
    """A rule that no case reaches is listed, and too little coverage fails the run."""
    thin = SUITE.replace("  - {prompts: [a dog], expect: {action: review, shadow: [dogs]}}\n", "")
    assert ran(folder, thin)[1][0]["uncovered"] == ["dogs"]
    assert ran(folder, thin, "--coverage", "75")[0] == 0
    assert ran(folder, thin, "--coverage", "76")[0] == 1


def test_junit_counts_failures_and_errors(folder: Path) -> None:
    """The JUnit file has a test case for each prompt, with its failure, and an error for a suite that does not load."""
    (folder / "broken_test.yaml").write_text("kind: PolicyTest\n", encoding="utf-8")
    (folder / "p_test.yaml").write_text(SUITE.replace("a catalogue", "a cat"), encoding="utf-8")
    result = RUNNER.invoke(app, ["test", str(folder), "--junit", str(folder / "junit.xml")])
    assert result.exit_code == 1
    broken, good = ET.parse(folder / "junit.xml").getroot()  # noqa: S314 - our own file
    assert (broken.get("errors"), good.get("tests"), good.get("failures")) == ("1", "8", "1")
    assert good.findall("testcase/failure")[0].get("message") == "touched by cats because of 'cat'"


def test_a_broken_suite_is_diagnosed() -> None:
    """Every problem of a suite is reported with its place."""
    with pytest.raises(PolicySyntaxError) as caught:
        load_suite(
            SUITE.replace("2026-06-30", "2026-06-31").replace("fixture: adult", "fixture: child, x: 1"), source="s"
        )
    assert [one.message for one in caught.value.diagnostics] == [
        "`now`: there is no day `2026-06-31`",
        "unknown field `x`",
        "no fixture is called `child`",
    ]


def test_suites_are_found_by_name(folder: Path) -> None:
    """A folder stands for the suites in it, a policy for the one beside it."""
    suite = folder / "p_test.yaml"
    assert suites_beside(folder) == suites_beside(folder / "p.yaml") == suites_beside(suite) == [suite]


def test_without_tests_there_is_an_error(tmp_path: Path) -> None:
    """A folder without suites, and a suite that is not there, are errors."""
    assert RUNNER.invoke(app, ["test", str(tmp_path)]).exit_code == 1
    assert RUNNER.invoke(app, ["test", str(tmp_path / "p.yaml")]).exit_code == 1
