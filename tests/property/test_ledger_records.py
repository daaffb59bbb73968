"""Canonical records: round trips and edits."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safegen.errors import LedgerError
from safegen.ledger import Drawn, Permeability, canonical_bytes, parse_record

TIME = "2026-01-02T03:04:05.000006Z"
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
floats = st.floats(allow_nan=False, allow_infinity=False)
digests = st.binary(min_size=32, max_size=32).map(bytes.hex)
permeabilities = st.builds(Permeability, adapter=names, concept=names, gamma=floats, escalated=st.booleans())
records = st.builds(
    Drawn,
    time=st.just(TIME),
    request_id=st.from_regex(r"[A-Za-z0-9._-]{1,64}", fullmatch=True),
    attempt=st.integers(0, 2**53 - 1),
    seeds=st.lists(st.integers(0, 2**64 - 1)).map(tuple),
    permeabilities=st.lists(permeabilities, max_size=5).map(tuple),
    image_sha256s=st.lists(digests, max_size=5).map(tuple),
)


@given(records)
def test_canonical_bytes_round_trip(record: Drawn) -> None:
    """Any record is read back equal from its bytes, and gives the same bytes again."""
    body = canonical_bytes(record)
    assert parse_record(body) == record
    assert canonical_bytes(parse_record(body)) == body


@given(records)
def test_canonical_bytes_mean_the_same_json(record: Drawn) -> None:
    """The canonical bytes are the JSON of the record, as a reader sees it whose numbers are doubles."""
    plain = json.dumps(record.model_dump(mode="json"))
    assert json.loads(canonical_bytes(record), parse_int=float) == json.loads(plain, parse_int=float)


@given(records)
def test_other_layouts_are_not_records(record: Drawn) -> None:
    """The same JSON in another layout is refused, so that one record has one hash."""
    spaced = json.dumps(json.loads(canonical_bytes(record)), indent=1).encode()
    with pytest.raises(LedgerError, match="canonical"):
        parse_record(spaced)


@given(records, st.data())
def test_edited_bytes_are_another_record_or_none(record: Drawn, data: st.DataObject) -> None:
    """A changed byte never reads as the same record."""
    body = bytearray(canonical_bytes(record))
    place = data.draw(st.integers(0, len(body) - 1))
    body[place] ^= data.draw(st.integers(1, 255))
    with suppress(LedgerError):
        assert parse_record(bytes(body)) != record
