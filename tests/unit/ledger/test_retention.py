"""Retention: old records go, hashes and proofs stay, and nothing goes that the ledger does not speak of."""

from __future__ import annotations

import json
import sqlite3
from datetime import timedelta
from pathlib import Path

import pytest

from safegen.errors import LedgerError
from safegen.ledger import Ledger, Pruned, Record, verify_ledger, verify_receipt
from tests.unit.ledger.conftest import FakeClock, requested, whole_request
from tests.unit.ledger.test_audit_command import run
from tests.unit.ledger.test_second_verifier import SECOND


def aged(records: list[Record], time: str) -> list[Record]:
    return [record.model_copy(update={"time": time}) for record in records]


@pytest.fixture
def old_and_new(ledger: Ledger, clock: FakeClock) -> Ledger:
    """Entries 0 to 4 an old request, 5 the start of one that ends late, 6 to 10 another old one, 11 to 15 a new one."""
    ledger.append_many(whole_request("old-1"))
    straddling = whole_request("straddling")
    ledger.append(straddling[0])
    ledger.append_many(whole_request("old-2"))
    clock.advance(days=400)
    ledger.append_many(aged(whole_request("new"), ledger.now()))
    ledger.append_many(aged(straddling[1:], ledger.now()))
    return ledger


def prune(ledger: Ledger) -> int:
    return ledger.prune(ledger._clock() - timedelta(days=365), reason="kept for a year")


def test_old_requests_go_and_everything_verifies(old_and_new: Ledger, tmp_path: Path) -> None:
    """The records of ended old requests are gone from the files, both verifiers take the ledger and its export."""
    ledger = old_and_new
    root, size = ledger.root(), ledger.size
    assert prune(ledger) == 10
    assert [entry.index for entry in ledger.entries() if not entry.body] == [0, 1, 2, 3, 4, 6, 7, 8, 9, 10]
    report = verify_ledger(ledger.folder, ledger.verifier_key)
    assert (report.problems, report.pruned, report.size, report.unsigned_tail) == ((), 10, size + 1, 0)
    assert SECOND.verify_log(ledger.folder, ledger.verifier_key)["ok"]
    ledger.export(tmp_path / "export.jsonl")
    assert verify_ledger(tmp_path / "export.jsonl", ledger.verifier_key) == report
    assert SECOND.verify_log(tmp_path / "export.jsonl", ledger.verifier_key)["pruned"] == 10
    assert root != ledger.root()
    last = list(ledger.entries())[-1].record
    assert isinstance(last, Pruned)
    assert (last.stop, last.reason) == (11, "kept for a year")


def test_nothing_of_the_text_remains(old_and_new: Ledger) -> None:
    """Neither the database nor its write-ahead log holds a pruned record any more."""
    gone, kept = old_and_new.find("old-1")[1].body, old_and_new.find("new")[1].body
    prune(old_and_new)
    content = b"".join(path.read_bytes() for path in old_and_new.folder.iterdir())
    assert gone not in content
    assert kept in content


def test_kept_record_still_verifies(old_and_new: Ledger) -> None:
    """Receipts from before, and proofs made after, hold for a record that somebody kept."""
    entry = old_and_new.find("old-1")[-1]
    before = old_and_new.receipt(entry.index)
    prune(old_and_new)
    after = old_and_new.receipt(entry.index)
    for receipt in (before, after):
        assert verify_receipt(receipt, entry.body, old_and_new.verifier_key)


def test_pruned_requests_stay_ended(old_and_new: Ledger) -> None:
    """A pruned request cannot be written again, is not open, and reading it says what became of it."""
    prune(old_and_new)
    with pytest.raises(LedgerError, match="follows `closed`"):
        old_and_new.append(requested("old-1"))
    assert old_and_new.open_requests() == []
    assert old_and_new.recover() == []
    with pytest.raises(LedgerError, match="was pruned"):
        _ = old_and_new.find("old-1")[0].record
    assert {one.request_id for one in old_and_new.recent_requests()} == {"old-1", "old-2", "straddling", "new"}


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE entries SET body = x'' WHERE \"index\" = 11",
        "UPDATE entries SET body = x'00' WHERE \"index\" = 5",
        "UPDATE entries SET body = x'', stage = 'closed' WHERE \"index\" = 5",
        "UPDATE entries SET body = x'', leaf_hash = x'00' WHERE \"index\" = 5",
        'DELETE FROM entries WHERE "index" = 0',
        'UPDATE prunings SET "stop" = 99',
        "DELETE FROM prunings",
    ],
)
def test_triggers_allow_no_more_than_was_recorded(old_and_new: Ledger, statement: str) -> None:
    """After a pruning the database still refuses every change that no `pruned` record speaks of."""
    prune(old_and_new)
    connection = sqlite3.connect(old_and_new.folder / "ledger.db")
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        connection.execute(statement)
    connection.close()


def test_pruning_again_goes_on(old_and_new: Ledger, clock: FakeClock) -> None:
    """A second pruning takes what became old since, and leaves what is gone as it is."""
    prune(old_and_new)
    clock.advance(days=400)
    assert prune(old_and_new) == 10
    report = verify_ledger(old_and_new.folder, old_and_new.verifier_key)
    assert (report.problems, report.pruned) == ((), 20)


def test_pruning_on_the_command_line(folder: Path) -> None:
    """`prune` asks first, tells what it did, and the other commands show what is left."""
    with Ledger.open(folder) as ledger:
        ledger.append_many(aged(whole_request("old"), "2020-01-01T00:00:00.000000Z"))
    arguments = ("prune", folder, "--older-than", "30", "--reason", "kept for a month")
    assert run(*arguments)[0] == 1
    assert run(*arguments, "--yes") == (0, "5 records removed, their hashes kept\n")
    assert run("verify", folder)[0] == 0
    code, output = run("show", folder, "old", "--json")
    assert (code, {entry["record"] for entry in json.loads(output)}) == (0, {None})
    assert run("show", folder, "old")[0] == 0
    assert "pruned" in run("show", folder)[1]
    assert run("prove", folder, "old")[0] == 0
    assert run("prove", folder, "old", "--record", folder / "record.json")[0] == 1
    assert run("query", folder, "SELECT count(*) FROM entries WHERE record IS NULL", "--as", "csv")[1].endswith("5\n")
