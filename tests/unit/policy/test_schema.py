"""The schema file."""

from __future__ import annotations

from pathlib import Path

from safegen.policy import policy_schema_text

SCHEMA = Path(__file__).parents[3] / "policies" / "schema.json"


def test_the_schema_file_is_up_to_date() -> None:
    """`policies/schema.json` is what the models generate."""
    assert SCHEMA.read_text(encoding="utf-8") == policy_schema_text()
