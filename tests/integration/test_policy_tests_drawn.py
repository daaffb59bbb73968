"""`safegen policy test --generate`: the tests beside a policy, with pictures."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from safegen.cli import app

POLICY = """
apiVersion: safegen/v1
kind: Policy
id: drawn
version: 1
description: refuses robots in one market, and looks at dogs so strictly that none passes
base: sticker
concepts:
  - {name: dog, category: object, phrases: [dog]}
exceptions:
  - {id: museum, rules: [no-kites], when: {tenants: [museum]}, owner: a@b.c, reason: Show., expires: "2025-03-01"}
rules:
  - {id: no-kites, match: {phrases: [kite]}, action: refuse, reason: Not here.}
  - {id: no-robots, match: {phrases: [robot]}, action: refuse, reason: Not there., when: {markets: [de]}}
  - id: look
    match: {concepts: [dog]}
    action: review
    reviews: [{reviewer: open_clip, threshold: 0.0, ladder: [withhold]}]
"""
TESTS = """
apiVersion: safegen/v1
kind: PolicyTest
policy: drawn.yaml
now: "2025-02-01"
cases:
  - {prompts: [a kite], request: {tenant: museum}, expect: {action: allow}}
  - {name: strict, prompts: [a dog in the rain], expect: {action: review, outcome: withheld}}
  - {prompts: [a robot], request: {market: de}, expect: {action: refuse}}
  - {prompts: [a robot], request: {market: fr}, expect: {action: allow}}
  - {prompts: [a dog], expect: {action: review}}
"""


def test_drawing_finds_what_deciding_cannot(tmp_path: Path) -> None:
    """Decisions are as expected; drawn, audience and day count too, and the dog that no look lets pass is told."""
    (tmp_path / "drawn.yaml").write_text(POLICY, encoding="utf-8")
    (tmp_path / "drawn_test.yaml").write_text(TESTS, encoding="utf-8")
    decided = CliRunner().invoke(app, ["policy", "test", str(tmp_path)])
    assert decided.exit_code == 0, decided.output
    junit = tmp_path / "junit.xml"
    options = ["--generate", "--json", "--junit", str(junit)]
    drawn = CliRunner().invoke(app, ["policy", "test", str(tmp_path), *options])
    assert drawn.exit_code == 1
    assert json.loads(drawn.stdout)[0]["drawn"] == ["a dog: withheld instead of released when drawn"]
    assert junit.read_text(encoding="utf-8").count("<failure") == 1
