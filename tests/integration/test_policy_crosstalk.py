"""`safegen policy analyze --weights`: how much the adapters of a policy overlap."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from safegen.cli import app, policy_compare

DEFAULT = Path(__file__).parents[2] / "policies" / "default.yaml"


def test_overlaps_are_measured_from_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """With every overlap told, each pair of the default policy's adapters has one, a cosine in -1..1, and a hint."""
    monkeypatch.setattr(policy_compare, "_LARGEST_QUIET_OVERLAP", 0.0)
    result = CliRunner().invoke(app, ["policy", "analyze", str(DEFAULT), "--weights", "--json", "--now", "2026-06-01"])
    assert result.exit_code == 0, result.output
    found = [one for one in json.loads(result.stdout) if one["code"] == "crosstalk"]
    assert len(found) == 8 * 7 // 2
    assert all(one["hint"] and one["line"] > 1 for one in found)
    overlaps = [float(one["message"].split(" by ")[1].split(";")[0]) for one in found]
    assert all(-1 <= one <= 1 for one in overlaps)
    assert len(set(overlaps)) > 1
