"""Records as a stream of events for a SIEM."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
import rfc8785
import structlog

from safegen.errors import LedgerError
from safegen.ledger import Closed, Ledger, LedgerKeys, merkle
from tests.unit.ledger.conftest import TIME, requested, whole_request

HOSTILE = "line\nbreak \x1b[31mred\x1b[0m \x9b2J <script>alert(1)</script> =cmd() \u202egnp.exe \x7f"


def hostile(name: str) -> Closed:
    return Closed(time=TIME, request_id=name, outcome="error", error={"code": "model", "message": HOSTILE})


def test_every_record_is_one_line_that_hashes_to_its_leaf(folder: Path, keys: LedgerKeys, tmp_path: Path) -> None:
    """Lines come in the order of the ledger; their records, written canonically, are the entries."""
    path = tmp_path / "events.jsonl"
    with Ledger.open(folder, keys=keys, events=[f"file:{path}"]) as ledger, structlog.contextvars.bound_contextvars(
        pod="a1"
    ):  # fmt: skip
        ledger.append_many(whole_request("a"))
        ledger.append_signed([requested("b"), hostile("b")])
        size = ledger.size
    events = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert [event["index"] for event in events] == list(range(size))
    assert {(event["ledger"], event["pod"]) for event in events} == {("example.com/ledger", "a1")}
    for event in events:
        assert merkle.leaf_hash(rfc8785.dumps(event["record"])).hex() == event["leaf_hash"]
        assert event["event"] == f"ledger.{event['record']['stage']}"


def test_hostile_text_stays_within_its_line(folder: Path, keys: LedgerKeys, capsys: pytest.CaptureFixture[str]) -> None:
    """Line breaks, terminal escapes, also eight-bit ones, and writing directions are escaped, and nothing is lost."""
    with Ledger.open(folder, keys=keys, events=["stdout"]) as ledger:
        ledger.append_many([requested("a"), hostile("a")])
    first, second = capsys.readouterr().out.splitlines()
    assert json.loads(second)["record"]["error"]["message"] == HOSTILE
    assert all(" " <= letter <= "~" for letter in first + second)


def test_syslog_gets_the_events(folder: Path, keys: LedgerKeys) -> None:
    """A collector on UDP receives the line behind its priority."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as collector:
        collector.bind(("127.0.0.1", 0))
        collector.settimeout(10)
        target = f"syslog:127.0.0.1:{collector.getsockname()[1]}"
        with Ledger.open(folder, keys=keys, events=[target]) as ledger:
            ledger.append(requested("a"))
        received = collector.recv(65_535)
    assert received.startswith(b"<86>safegen: {")
    assert json.loads(received.partition(b": ")[2])["event"] == "ledger.requested"


def test_a_stream_that_fails_holds_nothing_up(folder: Path, keys: LedgerKeys, tmp_path: Path) -> None:
    """A log file whose disk is full costs a warning, and no record."""
    with Ledger.open(folder, keys=keys, events=["file:/dev/full"]) as ledger:
        ledger.append_many(whole_request("a"))
        assert ledger.size == 5


@pytest.mark.parametrize("target", ["", "stderr", "file:", "file:/nosuch/folder/x", "syslog:host:port", "stdout:x"])
def test_a_target_that_is_none_is_an_error(folder: Path, keys: LedgerKeys, target: str) -> None:
    """The error says what can be written."""
    with pytest.raises(LedgerError, match="cannot write events"):
        Ledger.open(folder, keys=keys, events=[target])
