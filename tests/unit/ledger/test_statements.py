"""Statements of reasons."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from safegen.cli import app
from safegen.errors import LedgerError
from safegen.ledger import Audience, Closed, Decided, Drawn, Ledger, LedgerKeys, Record, Refusal, Reviewed, Score
from safegen.ledger.statements import category_of, statements
from tests.unit.ledger.conftest import HEX, TIME, requested, whole_request


def refused(name: str, market: str | None = None) -> list[Record]:
    common = {"time": TIME, "request_id": name}
    refusal = Refusal(rule="minors.absolute", reason="not here", category="minor")
    asked = requested(name).model_copy(update={"audience": Audience(age_gate="unknown", market=market)})
    return [asked, Decided(**common, action="refuse", refusal=refusal), Closed(**common, outcome="refused")]


def withheld(name: str) -> list[Record]:
    common = {"time": TIME, "request_id": name}
    score = Score(
        reviewer="nudenet", reviewer_digest=None, rule="nudity.look", label="EXPOSED", score=0.9, threshold=0.2,
        found=True,
    )  # fmt: skip
    return [
        requested(name), Decided(**common, action="erase"),
        Drawn(**common, attempt=0, seeds=(1,), image_sha256s=(HEX,)),
        Reviewed(**common, attempt=0, image=0, scores=(score,), verdict="withhold"),
        Closed(**common, outcome="withheld", attempts=1),
    ]  # fmt: skip


def test_what_was_refused_or_withheld_gives_a_statement_each() -> None:
    """Ground, facts, category, dates and scope come from the records; what was released gives none."""
    records = [*whole_request("fine"), *refused("no", market="de"), *withheld("hidden")]
    first, second = statements(records, {"FR", "AT"})
    assert (first["puid"], first["category"]) == ("no", "STATEMENT_CATEGORY_PROTECTION_OF_MINORS")
    assert first["territorial_scope"] == ["DE"]
    assert first["incompatible_content_explanation"] == "not here"
    assert "minors.absolute" in first["incompatible_content_ground"]
    assert (second["puid"], second["territorial_scope"]) == ("hidden", ["AT", "FR"])
    assert second["decision_visibility"] == ["DECISION_VISIBILITY_CONTENT_DISABLED"]
    assert "nudenet scored EXPOSED 0.900" in second["decision_facts"]
    assert second["category"] == "STATEMENT_CATEGORY_PORNOGRAPHY_OR_SEXUALIZED_CONTENT"


@pytest.mark.parametrize("territory", [set(), {"US"}, {"DE", "xx"}])
def test_a_territory_must_be_stated(territory: set[str]) -> None:
    """None, and what is no country of the area, are errors."""
    with pytest.raises(LedgerError, match="not a territory"):
        statements([], territory)


@pytest.mark.parametrize("name", ["listed-character", "living-artist", "memorised", "style"])
def test_categories_of_the_shipped_policies_are_known(name: str) -> None:
    """They fall under intellectual property; what nobody knows is a matter of the service's own scope."""
    assert category_of(name) == "STATEMENT_CATEGORY_INTELLECTUAL_PROPERTY_INFRINGEMENTS"
    assert category_of("zzz") == "STATEMENT_CATEGORY_SCOPE_OF_PLATFORM_SERVICE"


def test_the_command_writes_them_as_lines(folder: Path, keys: LedgerKeys, tmp_path: Path) -> None:
    """`export --dsa` needs a territory, and writes one statement a line."""
    with Ledger.open(folder, keys=keys) as ledger:
        ledger.append_many([*refused("a"), *withheld("b")])
    out = tmp_path / "statements.jsonl"
    command = ["audit", "export", str(folder), str(out), "--dsa"]
    assert CliRunner().invoke(app, command).exit_code == 1
    result = CliRunner().invoke(app, [*command, "--territory", "DE", "--territory", "FR"])
    assert result.exit_code == 0, result.output
    assert [json.loads(line)["puid"] for line in out.read_text().splitlines()] == ["a", "b"]
