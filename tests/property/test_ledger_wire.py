"""The fast reading of records: it takes nothing that the definition does not take, and reads the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from safegen.errors import LedgerError
from safegen.ledger import parse_record
from safegen.ledger.record import RequestRecord
from safegen.ledger.stages import Move, move_of
from safegen.ledger.wire import move_of_wire, read_wire

VECTORS = Path(__file__).parents[2] / "audit" / "vectors"


def bodies() -> list[bytes]:
    """Every different record of the vectors, honest and forged."""
    found = {}
    for path in sorted(VECTORS.glob("*.jsonl")):
        for line in path.read_bytes().splitlines():
            _, marker, record = line.partition(b'"record":')
            if marker and record != b"null}":
                found[record[:-1]] = None
    return list(found)


BODIES = bodies()
HONEST = [body for body in BODIES if read_wire(body) is not None]


def check(body: bytes) -> None:
    """If the fast way takes the bytes, the definition does, and both read the same."""
    value = read_wire(body)
    if value is None:
        return
    record = parse_record(body)
    assert record.model_dump(mode="json") == value
    expected = move_of(record) if isinstance(record, RequestRecord) else Move(record.stage)
    assert move_of_wire(value) == expected


def test_the_vectors_are_read_alike() -> None:
    """On every shipped record; those of the present version are taken fast, but for what only the definition knows."""
    for body in BODIES:
        check(body)
    missed = []
    for body in BODIES:
        if read_wire(body) is None:
            try:
                record = parse_record(body)
            except LedgerError:
                continue
            missed.append((record.stage, record.schema_version))
    assert {stage for stage, version in missed if version == 2} <= {"requested"}  # those with a seed beyond 2^53
    assert {json.loads(body)["stage"] for body in HONEST} > {"decided", "drawn", "reviewed", "closed", "pruned"}


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths to all parts of a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, part in inner for place in places(part, (*path, key)))]


odd = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**54), 2**54), st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=5), st.just([]), st.just({}), st.just("5a" * 32), st.just("x" * 3000), st.just("miss"),
    st.just(["x"]), st.just({"kind": "leak"}), st.just("2026-02-30T00:00:00.000000Z"),
)  # fmt: skip


def with_change(value: Any, path: tuple[Any, ...], change: Any, action: str) -> Any:
    """The value with one part replaced, removed, or with one more beside it."""
    if not path:
        return change
    copy = dict(value) if isinstance(value, dict) else list(value)
    if len(path) > 1 or action == "replace":
        copy[path[0]] = with_change(copy[path[0]], path[1:], change, action)
    elif action == "remove":
        del copy[path[0]]
    elif isinstance(copy, dict):
        copy["extra"] = change
    else:
        copy.append(change)
    return copy


@given(st.data())
def test_edited_records_are_read_alike(data: st.DataObject) -> None:
    """Any part of any record replaced, removed or added, and written canonically again."""
    value = json.loads(data.draw(st.sampled_from(HONEST)))
    path = data.draw(st.sampled_from(places(value)))
    changed = with_change(value, path, data.draw(odd), data.draw(st.sampled_from(["replace", "remove", "add"])))
    try:
        check(rfc8785.dumps(changed))
    except rfc8785.CanonicalizationError:
        return


@given(st.data())
def test_damaged_records_are_read_alike(data: st.DataObject) -> None:
    """Any byte changed, taken out, or doubled."""
    body = bytearray(data.draw(st.sampled_from(HONEST)))
    place = data.draw(st.integers(0, len(body) - 1))
    body[place : place + data.draw(st.integers(0, 2))] = bytes([data.draw(st.integers(0, 255))])
    check(bytes(body))


@pytest.mark.parametrize("number", [b"1.0", b"1e0", b"true", b"2.0", b'"2"', b"3", b"0", b"null"])
def test_only_the_number_is_the_version(number: bytes) -> None:
    """What equals the version in Python and is not the number is no version."""
    body = HONEST[0].replace(b'"schema_version":2', b'"schema_version":' + number)
    assert read_wire(body) is None
    with pytest.raises(LedgerError):
        parse_record(body)
