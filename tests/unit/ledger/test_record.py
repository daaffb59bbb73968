"""Records and their canonical bytes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from safegen.errors import LedgerError
from safegen.ledger import Closed, Requested, Score, canonical_bytes, parse_record, record_schema_text
from tests.unit.ledger.conftest import TIME, requested, whole_request

SCHEMA = Path(__file__).parents[3] / "audit" / "schema" / "record.schema.json"


def changed(**changes: object) -> bytes:
    return json.dumps(
        {**json.loads(canonical_bytes(requested("a"))), **changes}, sort_keys=True, separators=(",", ":")
    ).encode()


def test_canonical_bytes_are_fixed() -> None:
    """The canonical bytes of a record are these and no others."""
    closed = Closed(time=TIME, request_id="a", outcome="error", error={"code": "model", "message": "über"})
    assert (
        canonical_bytes(closed)
        == (
            '{"attempts":0,"disagreements":[],"error":{"code":"model","message":"über"},"images":[],"outcome":"error",'
            '"request_id":"a","schema_version":2,"stage":"closed","time":"2026-01-02T03:04:05.000006Z"}'
        ).encode()
    )


def test_every_stage_round_trips() -> None:
    """Reading the canonical bytes gives the record again."""
    for record in whole_request("a"):
        assert parse_record(canonical_bytes(record)) == record


@pytest.mark.parametrize(
    "body",
    [
        changed(schema_version=3),
        changed(schema_version=1, audience={"age_gate": "adult"}),
        changed(audience=None),
        changed(stage="dreamt"),
        changed(prompt="a cat"),
        changed(time="2026-13-02T03:04:05.000006Z"),
        changed(time="2026-01-02 03:04:05"),
        changed(prompt_commitment="AB" * 32),
        changed(request_id=5),
        b" " + canonical_bytes(requested("a")),
        canonical_bytes(requested("a")).replace(b'{"base_model"', b'{"stage":"requested","base_model"'),
        b"{}",
        b"[]",
        b"\xff",
        b"",
    ],
)
def test_anything_else_is_no_record(body: bytes) -> None:
    """Unknown versions, stages and fields, wrong forms and bytes that are not canonical are all refused."""
    with pytest.raises(LedgerError):
        parse_record(body)


def test_large_seeds_are_kept_exactly() -> None:
    """A seed beyond what JSON numbers keep is written as a string and read back as the same integer."""
    body = canonical_bytes(requested("a"))
    assert b'"seed":"18446744073709551615"' in body
    record = parse_record(body)
    assert isinstance(record, Requested)
    assert record.parameters.seed == 2**64 - 1


@pytest.mark.parametrize(("score", "failure"), [(None, None), (0.5, "timeout")])
def test_a_review_has_a_score_or_a_failure(score: float | None, failure: str | None) -> None:
    """A reviewer that says nothing has failed, and one that failed has no score."""
    with pytest.raises(ValidationError, match="a score or a failure"):
        Score(
            reviewer="x",
            reviewer_digest=None,
            rule="r",
            label="l",
            score=score,
            threshold=0.2,
            found=True,
            failure=failure,
        )


def test_records_are_frozen() -> None:
    """A record does not change once made."""
    with pytest.raises(ValidationError, match="frozen"):
        requested("a").request_id = "b"  # type: ignore[misc]


def test_schema_file_is_up_to_date() -> None:
    """The shipped JSON Schema is the one of the code; `safegen audit schema` writes it anew."""
    assert SCHEMA.read_text(encoding="utf-8") == record_schema_text()
