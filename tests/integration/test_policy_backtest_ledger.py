"""`safegen policy backtest` over what a ledger recorded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from safegen.cli import app
from safegen.guard import Guard

POLICY = """
apiVersion: safegen/v1
kind: Policy
id: recorded
version: 1
description: refuses one word
base: sticker
records: {{prompts: {prompts}}}
rules:
  - {{id: no-{word}s, match: {{phrases: [{word}]}}, action: refuse, reason: Not here., when: {{markets: [de]}}}}
"""


def policy(folder: Path, word: str, prompts: str = "sealed") -> Path:
    path = folder / f"{word}.yaml"
    path.write_text(POLICY.format(word=word, prompts=prompts), encoding="utf-8")
    return path


def ask(file: Path, ledger: Path) -> None:
    with Guard.open(file, ledger=ledger) as guard:
        for prompt in ("a robot", "a robot and a kite"):
            assert guard.generate(prompt, audience={"market": "de"}).outcome == "refused"


def run(*words: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(word) for word in words])
    return result.exit_code, result.output + getattr(result.exception, "hint", "") + str(result.exception or "")


@pytest.mark.parametrize("source", ["folder", "export.jsonl", "export.parquet"])
def test_sealed_prompts_can_be_asked_again(tmp_path: Path, source: str) -> None:
    """From the folder or from an export, sealed prompts and their audience are decided under both policies."""
    old, new, ledger = policy(tmp_path, "robot"), policy(tmp_path, "kite"), tmp_path / "ledger"
    ask(old, ledger)
    prompts = ledger
    if source != "folder":
        prompts = tmp_path / source
        code, output = run("audit", "export", ledger, prompts)
        assert code == 0, output
    code, output = run("policy", "backtest", old, new, "--prompts", prompts, "--ledger", ledger, "--json")
    assert code == 0, output
    result = json.loads(output)
    assert (result["prompts"], result["changed"], result["unread"]) == (2, 2, 0)
    assert result["outcomes"] == [{"old": "refuse", "new": "allow", "prompts": 1}]


def test_commitments_cannot_be_asked_again(tmp_path: Path) -> None:
    """A ledger that keeps commitments alone is an error that says how to keep more."""
    old, ledger = policy(tmp_path, "robot", "commitment"), tmp_path / "ledger"
    ask(old, ledger)
    code, output = run("policy", "backtest", old, old, "--prompts", ledger)
    assert code == 1
    assert "none of the 2 prompts" in output
    assert "records: {prompts: sealed}" in output
