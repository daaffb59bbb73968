"""The ledger as a guard uses it."""

from __future__ import annotations

import logging
import multiprocessing
import os
import sqlite3
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
import rfc8785
import structlog

from safegen.errors import LedgerError, LedgerTamperedError, LedgerWriteError
from safegen.ledger import (
    Closed,
    Decided,
    Ledger,
    LedgerKeys,
    LedgerReader,
    PolicyChanged,
    Recovered,
    canonical_bytes,
    merkle,
    parse_record,
    verify_checkpoint,
    verify_ledger,
    verify_receipt,
)
from safegen.ledger.files import create_whole
from safegen.ledger.publishing import FileSink
from safegen.ledger.transaction import Writer
from tests.unit.ledger.conftest import HEX, TIME, FakeClock, counting_random, requested, whole_request


def test_append_is_there_for_another_connection(ledger: Ledger) -> None:
    """What `append` returned is read by an independent connection."""
    entry = ledger.append(requested("a"))
    with LedgerReader.open_read_only(ledger.folder) as reader:
        assert list(reader.entries()) == [entry]
        assert reader.root() == ledger.root()


def test_first_use_makes_private_keys(folder: Path) -> None:
    """A new ledger has a key file that only its owner reads, and the matching public key beside it."""
    with Ledger.open(folder) as ledger:
        assert stat.S_IMODE((folder / "keys.json").stat().st_mode) == 0o600
        assert (folder / "ledger.pub").read_text() == ledger.verifier_key + "\n"
        assert LedgerKeys.load(folder / "keys.json").commit("x") == ledger.commit("x")


def test_reopening_keeps_keys_and_entries(folder: Path) -> None:
    """A ledger goes on where it was left."""
    with Ledger.open(folder) as ledger:
        ledger.append(requested("a"))
        key = ledger.verifier_key
    with Ledger.open(folder, create=False) as again:
        assert again.append(requested("b")).index == 1
        assert again.verifier_key == key
    assert verify_ledger(folder, key).ok


def test_missing_ledger_is_not_created_unasked(folder: Path) -> None:
    """With create=False a missing ledger is an error and leaves nothing behind."""
    with pytest.raises(LedgerError, match="no ledger"):
        Ledger.open(folder, create=False)
    assert not folder.exists()


def test_lost_keys_are_not_replaced(folder: Path) -> None:
    """A ledger whose keys are gone is not silently given new ones."""
    Ledger.open(folder).close()
    (folder / "keys.json").unlink()
    with pytest.raises(LedgerError, match="keys are missing"):
        Ledger.open(folder)


def test_other_keys_are_refused(ledger: Ledger) -> None:
    """A ledger is not opened with the keys of another."""
    with pytest.raises(LedgerError, match="not those of this ledger"):
        Ledger.open(ledger.folder, keys=LedgerKeys.generate("example.com/ledger"))


def test_append_many_is_all_or_nothing(ledger: Ledger) -> None:
    """A record out of order undoes the records that came with it."""
    with pytest.raises(LedgerWriteError, match="appears twice"):
        ledger.append_many([requested("a"), requested("a")])
    assert ledger.size == 0


def test_nothing_follows_the_end(ledger: Ledger) -> None:
    """A request that is over takes no more records."""
    ledger.append_many(whole_request("a"))
    with pytest.raises(LedgerWriteError, match="follows `closed`"):
        ledger.append(Closed(time=TIME, request_id="a", outcome="error"))


def test_too_long_record_is_refused(ledger: Ledger) -> None:
    """An entry of 65,535 bytes or more is refused, one byte less is taken."""
    ledger.append(requested("a"))
    empty = len(json_bytes(Decided(time=TIME, request_id="a", action="allow")))
    names = ["x" * 200] * 322
    spare = 65_534 - empty - 322 * 203 + 1
    fits = Decided(time=TIME, request_id="a", action="allow", rules=(*names, "y" * (spare - 3)))
    assert len(json_bytes(fits)) == 65_534
    with pytest.raises(LedgerWriteError, match="65535"):
        ledger.append(fits.model_copy(update={"action": "allow+"}))
    ledger.append(fits)


def json_bytes(record: Decided) -> bytes:
    return rfc8785.dumps(record.model_dump(mode="json"))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE entries SET stage = 'closed'",
        "DELETE FROM entries",
        "UPDATE nodes SET hash = x'00'",
        "DELETE FROM nodes",
        "UPDATE checkpoints SET text = ''",
        "DELETE FROM checkpoints",
        "INSERT OR REPLACE INTO entries VALUES (0, 'a', 'closed', x'00', x'00')",
        "INSERT OR REPLACE INTO nodes VALUES (1, 1, x'00')",
        "INSERT OR REPLACE INTO checkpoints VALUES (0, '')",
        "INSERT INTO entries VALUES (99, 'a', 'closed', x'00', x'00')",
    ],
)
def test_triggers_refuse_changes(full_folder: Path, statement: str) -> None:
    """The database itself refuses to change, drop, replace or misnumber rows."""
    connection = sqlite3.connect(full_folder / "ledger.db")
    with pytest.raises(sqlite3.IntegrityError, match=r"append-only|without a gap"):
        connection.execute(statement)
    connection.close()


def test_checkpoint_covers_all_and_is_published(ledger: Ledger, keys: LedgerKeys) -> None:
    """A checkpoint is signed over every entry and lies in the folder as a file."""
    ledger.append_many(whole_request("a"))
    checkpoint = ledger.checkpoint()
    assert (checkpoint.size, checkpoint.root) == (5, ledger.root())
    assert verify_checkpoint((ledger.folder / "checkpoint").read_text(), keys.verifier_key) == checkpoint
    assert ledger.checkpoint() == checkpoint


def test_signed_append_is_one_commit_with_its_checkpoint(ledger: Ledger, keys: LedgerKeys) -> None:
    """The receipt of a signed append verifies, its head is stored with the entries, and it is published in the end."""
    *first, last = whole_request("a")
    begun = ledger.begin_append(lambda: first)
    assert [entry.index for entry in begun.result()] == [0, 1, 2, 3]
    receipt = ledger.append_signed([last])
    assert verify_receipt(receipt, canonical_bytes(last), keys.verifier_key).size == 5
    with ledger._store.reading() as reader:
        assert reader.latest_checkpoint() == receipt.checkpoint
    ledger.close()
    assert (ledger.folder / "checkpoint").read_text() == receipt.checkpoint


def test_signed_append_to_a_contradicted_ledger_adds_nothing(full_folder: Path, keys: LedgerKeys) -> None:
    """If the published checkpoint says more than the ledger has, neither entry nor head is added."""
    with Ledger.open(full_folder, keys=keys) as ledger:
        (full_folder / "checkpoint").write_text(keys.sign(99, b"\x11" * 32).text)
        with pytest.raises(LedgerTamperedError, match="16 entries, but 99 were signed"):
            ledger.append_signed([requested("late")])
        assert ledger.size == 15


def test_a_smaller_checkpoint_never_replaces_a_larger_one(tmp_path: Path, keys: LedgerKeys) -> None:
    """Whoever comes late leaves the published file as it is."""
    sink = FileSink(tmp_path / "checkpoint")
    for size in (5, 9, 7):
        sink.publish(keys.sign(size, bytes([size]) * 32))
    assert (tmp_path / "checkpoint").read_text().split("\n")[1] == "9"


def test_what_a_crash_kept_from_being_published_is_published_at_the_next_start(
    full_folder: Path, keys: LedgerKeys
) -> None:
    """A checkpoint that the database has and the published file has not is no tampering, and is put right."""
    newest = (full_folder / "checkpoint").read_text()
    (full_folder / "checkpoint").write_text(keys.sign(0, merkle.EMPTY_ROOT).text)
    Ledger.open(full_folder, keys=keys).close()
    assert (full_folder / "checkpoint").read_text() == newest


def test_published_checkpoint_is_never_contradicted(full_folder: Path, keys: LedgerKeys) -> None:
    """A database that was set back behind its published checkpoint is not opened for writing."""
    connection = sqlite3.connect(full_folder / "ledger.db")
    for table in ("entries", "nodes", "checkpoints"):
        connection.execute(f"DROP TRIGGER {table}_no_delete")
    connection.execute('DELETE FROM entries WHERE "index" >= 10')
    connection.execute("DELETE FROM nodes WHERE entry >= 10")
    connection.execute("DELETE FROM checkpoints WHERE size > 10")
    connection.commit()
    connection.close()
    with pytest.raises(LedgerTamperedError, match="10 entries, but 15 were signed"):
        Ledger.open(full_folder, keys=keys)


def test_recover_closes_only_what_is_old(ledger: Ledger, clock: FakeClock) -> None:
    """Recovery ends requests that are older than the grace, and leaves younger and finished ones alone."""
    ledger.append_many([requested("old", ledger.now()), *whole_request("done")])
    clock.advance(minutes=20)
    ledger.append(requested("young", ledger.now()))
    (entry,) = ledger.recover(grace=timedelta(minutes=15))
    assert isinstance(entry.record, Recovered)
    assert entry.record.request_id == "old"
    assert [request.request_id for request in ledger.open_requests()] == ["young"]
    assert ledger.recover() == []


def test_recovered_request_cannot_be_closed(ledger: Ledger, clock: FakeClock) -> None:
    """A late process learns that its request was ended in its stead."""
    ledger.append(requested("late", ledger.now()))
    clock.advance(hours=1)
    ledger.recover()
    with pytest.raises(LedgerWriteError, match="follows `recovered`"):
        ledger.append(Closed(time=ledger.now(), request_id="late", outcome="error"))


def test_policy_change_belongs_to_no_request(ledger: Ledger) -> None:
    """A change of policy is an entry of its own, with a receipt that names no request."""
    change = PolicyChanged(time=TIME, policy_id="default", old_digest=None, new_digest=f"sha256:{HEX}")
    entry = ledger.append(change)
    assert entry.record == change
    assert ledger.receipt(entry.index).request_id is None


def test_records_come_back_equal(ledger: Ledger) -> None:
    """Every stage is read back as it was written."""
    records = whole_request("a")
    ledger.append_many(records)
    assert [entry.record for entry in ledger.find("a")] == records
    assert ledger.recent_requests()[0].outcome == "released"


def test_appended_records_are_logged_when_wanted(ledger: Ledger, caplog: pytest.LogCaptureFixture) -> None:
    """A program that listens gets the very record as a structlog event; one that does not pays nothing."""
    with structlog.testing.capture_logs() as silent:
        ledger.append(requested("a"))
    assert silent == []
    with caplog.at_level(logging.INFO, logger="safegen.ledger"), structlog.testing.capture_logs() as heard:
        entry = ledger.append(requested("b"))
    assert heard[0]["event"] == "ledger.requested"
    assert heard[0]["leaf_hash"] == entry.leaf_hash.hex()
    assert heard[0]["request_id"] == "b"


def test_unwritable_folder_is_a_write_error(tmp_path: Path) -> None:
    """A folder that cannot be made is a LedgerWriteError with a hint."""
    (tmp_path / "file").write_text("")
    with pytest.raises(LedgerWriteError) as caught:
        Ledger.open(tmp_path / "file" / "ledger")
    assert caught.value.hint


@pytest.mark.parametrize("content", [b"not a database, but long enough to be looked at" * 50, b""])
def test_foreign_file_is_an_error(ledger: Ledger, content: bytes) -> None:
    """A file that is no ledger is an error with a hint, never an empty ledger."""
    path = ledger.folder.parent / "foreign"
    path.mkdir()
    (path / "ledger.db").write_bytes(content)
    with pytest.raises(LedgerError) as caught:
        LedgerReader.open_read_only(path)
    assert caught.value.hint


def test_full_disk_is_a_write_error(ledger: Ledger) -> None:
    """When the database may not grow any more, appending fails, says so, and nothing is half written."""
    with ledger._store.writing() as writer:
        pages = writer._connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        writer._connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(LedgerWriteError, match="full") as caught:
        append_some(ledger, "r", 1000)
    assert "disk is full" in caught.value.hint
    assert verify_ledger(ledger.folder, ledger.verifier_key).ok


def test_locked_database_is_a_write_error(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer that cannot get the lock in time gives up with a hint."""
    monkeypatch.setattr("safegen.ledger.store.BUSY_SECONDS", 0.05)
    other = sqlite3.connect(ledger.folder / "ledger.db", isolation_level=None)
    with Ledger.open(ledger.folder, keys=ledger._keys) as impatient:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerWriteError) as caught:
            impatient.append(requested("a"))
    other.close()
    assert "another process" in caught.value.hint


def test_threads_share_a_ledger(ledger: Ledger) -> None:
    """Many threads append to one ledger without losing or misplacing a record."""
    threads = [threading.Thread(target=append_some, args=(ledger, f"t{number}", 10)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ledger.checkpoint()
    report = verify_ledger(ledger.folder, ledger.verifier_key)
    assert (report.ok, report.size, report.unsigned_tail) == (True, 80, 0)


def test_threads_share_a_commit(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Appends that wait for a slow commit are all written by the next one, and one out of order fails alone."""
    ledger.append(requested("first"))
    transactions = []
    honest, gate = ledger._store.writing, threading.Event()

    @contextmanager
    def slow() -> Iterator[Writer]:
        transactions.append(1)
        if len(transactions) == 1:
            gate.wait(10)
        with honest() as writer:
            yield writer

    monkeypatch.setattr(ledger._store, "writing", slow)
    results: dict[str, object] = {}

    def append(name: str) -> None:
        try:
            results[name] = ledger.append(requested(name.rstrip("!"))).index
        except LedgerWriteError as error:
            results[name] = error.message

    threads = [threading.Thread(target=append, args=(name,)) for name in ("a", "b", "c", "first!", "d")]
    for thread in threads:
        thread.start()
        time.sleep(0.05)
    gate.set()
    for thread in threads:
        thread.join()
    assert len(transactions) == 2
    assert "appears twice" in str(results.pop("first!"))
    assert sorted(results.values()) == [1, 2, 3, 4]  # type: ignore[type-var]
    ledger.checkpoint()
    assert verify_ledger(ledger.folder, ledger.verifier_key).ok


@pytest.mark.parametrize("chosen", [False, True], ids=["while waiting", "when it should lead"])
def test_interrupted_append_holds_up_nobody(ledger: Ledger, monkeypatch: pytest.MonkeyPatch, *, chosen: bool) -> None:
    """An append that is interrupted while it waits, or just as it is its turn to write, leaves the ledger usable."""
    gate, entered, honest = threading.Event(), threading.Event(), ledger._store.writing

    @contextmanager
    def slow() -> Iterator[Writer]:
        entered.set()
        gate.wait(10)
        with honest() as writer:
            yield writer

    class Interrupted(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            gate.set()
            while chosen and not self.is_set():
                time.sleep(0.001)
            raise KeyboardInterrupt

    monkeypatch.setattr(ledger._store, "writing", slow)
    first = threading.Thread(target=ledger.append, args=(requested("first"),))
    first.start()
    entered.wait(10)
    monkeypatch.setattr("safegen.ledger.commit.threading.Event", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        ledger.append(requested("interrupted"))
    monkeypatch.undo()
    first.join(10)
    last = threading.Thread(target=ledger.append, args=(requested("last"),), daemon=True)
    last.start()
    last.join(10)
    assert not last.is_alive()
    assert {"first", "last"} <= {request.request_id for request in ledger.open_requests()}


def test_failed_commit_fails_every_append(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the transaction fails, no append of the group returns, and nothing was written."""

    @contextmanager
    def failing() -> Iterator[Writer]:
        with honest() as writer:
            yield writer
            raise LedgerWriteError("the disk is gone")

    honest = ledger._store.writing
    monkeypatch.setattr(ledger._store, "writing", failing)
    failures = []

    def append(name: str) -> None:
        with pytest.raises(LedgerWriteError, match="disk is gone") as caught:
            ledger.append(requested(name))
        failures.append(caught.value)

    threads = [threading.Thread(target=append, args=(f"t{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(map(id, failures))) == 4
    assert ledger.size == 0


def append_some(ledger: Ledger, prefix: str, count: int) -> None:
    for number in range(count):
        ledger.append(requested(f"{prefix}-{number}"))


def append_in_process(folder: Path, prefix: str, barrier: threading.Barrier) -> None:
    barrier.wait()
    with Ledger.open(folder) as ledger:
        for number in range(50):
            ledger.append(requested(f"{prefix}-{number}"))
            if number % 10 == 0:
                ledger.checkpoint()


def test_processes_share_a_ledger(folder: Path) -> None:
    """Two processes that create and fill one ledger at the same time give one contiguous, valid tree."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(2)
    processes = [context.Process(target=append_in_process, args=(folder, name, barrier)) for name in ("a", "b")]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    with Ledger.open(folder, create=False) as ledger:
        ledger.checkpoint()
        report = verify_ledger(folder, ledger.verifier_key)
    assert (report.problems, report.size, report.unsigned_tail) == ((), 100, 0)


def test_keys_hide_themselves(keys: LedgerKeys) -> None:
    """Neither secret shows in the repr of the keys."""
    assert repr(keys) == "LedgerKeys(name='example.com/ledger')"


def test_key_file_is_never_overwritten(keys: LedgerKeys, tmp_path: Path) -> None:
    """Saving over a key file is refused."""
    keys.save(tmp_path / "keys.json")
    with pytest.raises(LedgerWriteError, match="never overwritten"):
        LedgerKeys.generate(random=counting_random()).save(tmp_path / "keys.json")


def test_exposed_key_file_is_warned_about(keys: LedgerKeys, tmp_path: Path) -> None:
    """A key file that others may read still works, with a warning."""
    path = tmp_path / "keys.json"
    keys.save(path)
    path.chmod(0o644)
    with structlog.testing.capture_logs() as heard:
        LedgerKeys.load(path)
    assert heard[0]["event"] == "ledger.keys_exposed"


def test_entry_bodies_parse_alone(ledger: Ledger) -> None:
    """The stored bytes are the canonical record and nothing else."""
    entry = ledger.append(requested("a"))
    assert parse_record(entry.body) == requested("a")


def test_small_files_are_synced_before_they_appear(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is synced before it gets its name, and its folder after, so that a crash leaves the old one or the new."""
    steps: list[str] = []
    honest_sync, honest_replace = os.fsync, Path.replace

    def sync(descriptor: int) -> None:
        steps.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        honest_sync(descriptor)

    def replace(path: Path, target: Path) -> Path:
        steps.append("name")
        return honest_replace(path, target)

    monkeypatch.setattr("os.fsync", sync)
    monkeypatch.setattr(Path, "replace", replace)
    checkpoint = LedgerKeys.generate("example.com/ledger").sign(0, merkle.EMPTY_ROOT)
    FileSink(tmp_path / "checkpoint").publish(checkpoint)
    assert steps == ["file", "name", "folder"]
    assert (tmp_path / "checkpoint").read_text() == checkpoint.text
    steps.clear()
    create_whole(tmp_path / "keys.json", "text", mode=0o600)
    assert steps == ["file", "folder"]


def test_forked_process_is_told_to_open_its_own(ledger: Ledger) -> None:
    """A process forked after the ledger was opened gets an error at once, even if a commit was under way."""
    ledger._commit._led = True
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            ledger.append(requested("a"))
        except LedgerWriteError as error:
            os.write(writer, error.message.encode())
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    assert b"before this process was forked" in os.read(reader, 1000)
    os.close(reader)
