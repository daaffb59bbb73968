"""Canonical records: round trips and edits."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from safegen.errors import LedgerError
from safegen.ledger import Drawn, Permeability, canonical, canonical_bytes, parse_record

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


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | floats
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4),
    max_leaves=8,
)


@given(json_values, st.data())
def test_fast_canonical_check_decides_like_rfc8785(value: object, data: st.DataObject) -> None:
    """The fast way takes a text if and only if rfc8785 writes it so, for canonical, plain and damaged texts alike."""
    plain = json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()
    texts = [plain, json.dumps(value).encode(), plain.replace(b"0,", b"0.0,"), plain.replace(b"e+", b"e")]
    with suppress(rfc8785.CanonicalizationError):
        texts.append(rfc8785.dumps(value))
    body = bytearray(plain)
    body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    for text in (*texts, bytes(body)):
        slow, fast = canonical._by_definition(text), canonical.canonical_value(text)
        assert fast == slow or (fast is canonical._NONE and slow is canonical._NONE)


@given(json_values)
def test_fast_canonical_text_is_that_of_rfc8785(value: object) -> None:
    """What is written fast is what rfc8785 writes, byte for byte, and what has no canonical form has none."""
    try:
        expected = rfc8785.dumps(value)
    except ValueError:
        with pytest.raises(ValueError, match=r".*"):
            canonical.canonical_text(value)
    else:
        assert canonical.canonical_text(value) == expected


@pytest.mark.parametrize("text", [b"1.0", b"1e5", b"1e-5", b"1e21", b"1e+21", b"[1.50,2]", b"9007199254740993", b"-0"])
def test_numbers_in_other_forms_are_not_canonical(text: bytes) -> None:
    """A number that RFC 8785 writes otherwise is refused, alone and inside of a record; 1e+21 alone is its own form."""
    for body in (text, b"[" + text + b",1]", b'{"a":' + text + b"}"):
        taken = canonical.canonical_value(body) is not canonical._NONE
        assert taken == (text == b"1e+21")
