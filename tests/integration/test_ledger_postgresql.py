"""The ledger in PostgreSQL, on a server of its own that lives for these tests. Skipped where none can be started."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from safegen.errors import LedgerError, LedgerTamperedError, LedgerWriteError
from safegen.ledger import Ledger, LedgerReader, utc_now, verify_ledger
from safegen.serve.console.context import Console
from safegen.serve.console.index import Filter
from tests.unit.ledger.conftest import TIME, requested, whole_request
from tests.unit.ledger.test_audit_command import run
from tests.unit.ledger.test_second_verifier import SECOND

psycopg: Any = pytest.importorskip("psycopg", reason="needs psycopg: pip install 'safegen[postgresql]'")

ROLE = "postgres"


def binaries() -> Path | None:
    """The folder of initdb and pg_ctl, which Debian keeps off the path."""
    found = shutil.which("initdb")
    places = [Path(found).resolve().parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return next((place for place in reversed(places) if (place / "initdb").exists()), None)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The socket folder of a fresh server; it refuses to run as root, so root hands it to the role postgres."""
    place = binaries()
    if place is None:
        pytest.skip("no PostgreSQL server here: apt-get install postgresql")
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    as_other: dict[str, Any] = {"user": ROLE} if os.geteuid() == 0 else {}
    if as_other:
        shutil.chown(folder, ROLE)

    def call(*command: str) -> None:
        subprocess.run(command, check=True, capture_output=True, cwd=folder, timeout=60, **as_other)

    data = str(folder / "data")
    call(str(place / "initdb"), "-D", data, "-U", ROLE, "-A", "trust")
    options = f"-c listen_addresses='' -c unix_socket_directories='{folder}' -c shared_buffers=16MB"
    call(str(place / "pg_ctl"), "-D", data, "-o", options, "-l", str(folder / "log"), "-w", "start")
    try:
        yield str(folder)
    finally:
        call(str(place / "pg_ctl"), "-D", data, "-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def url(server: str, request: pytest.FixtureRequest) -> str:
    """An empty database of its own for each test."""
    name = f"t{abs(hash(request.node.name)):x}"
    with psycopg.connect(host=server, user=ROLE, dbname="postgres", autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    return f"postgresql://{ROLE}@/{name}?host={server}"


def execute(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement)


def test_whole_ledger_lives_in_postgresql(url: str, tmp_path: Path) -> None:
    """Append, sign, prove, reopen without the address, verify with both verifiers, and query: all as with SQLite."""
    folder = tmp_path / "ledger"
    with Ledger.open(folder, database=url) as ledger:
        for number in range(3):
            ledger.append_many(whole_request(f"r{number}"))
        ledger.checkpoint()
        key = ledger.verifier_key
    assert not (folder / "ledger.db").exists()
    with Ledger.open(folder, create=False) as again:
        assert again.append(requested("late", TIME)).index == 15
        assert again.find("r1")[-1].index == 9
    report = verify_ledger(folder, key)
    assert (report.problems, report.size, report.unsigned_tail) == ((), 16, 1)
    assert run("prove", folder, "r1", "--out", tmp_path / "p.tlog-proof")[0] == 0
    assert run("export", folder, tmp_path / "export.jsonl")[0] == 0
    assert SECOND.verify_log(tmp_path / "export.jsonl", key)["ok"]
    assert "late" in run("query", folder, "never_closed")[1]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE entries SET stage = 'closed'",
        "DELETE FROM entries",
        "TRUNCATE entries",
        "UPDATE nodes SET hash = ''",
        "DELETE FROM nodes",
        "TRUNCATE nodes",
        "UPDATE checkpoints SET text = ''",
        "DELETE FROM checkpoints",
        "TRUNCATE checkpoints",
        "INSERT INTO entries VALUES (99, 'a', 'closed', '', '')",
        "INSERT INTO entries SELECT * FROM entries ON CONFLICT (\"index\") DO UPDATE SET stage = 'closed'",
    ],
)
def test_triggers_refuse_changes(url: str, tmp_path: Path, statement: str) -> None:
    """The server itself refuses to change, drop, truncate or misnumber rows."""
    with Ledger.open(tmp_path / "ledger", database=url) as ledger:
        ledger.append_many(whole_request("a"))
    with pytest.raises(psycopg.IntegrityError, match=r"append-only|without a gap"):
        execute(url, statement)


def test_forgery_by_the_owner_is_found(url: str, tmp_path: Path) -> None:
    """Whoever owns the server can drop the triggers, and is found out by the signed tree."""
    with Ledger.open(tmp_path / "ledger", database=url) as ledger:
        ledger.append_many(whole_request("a"))
        ledger.checkpoint()
        execute(url, "DROP TRIGGER entries_append_only ON entries")
        execute(url, 'DELETE FROM entries WHERE "index" = 4')
        found = {problem.name for problem in verify_ledger(tmp_path / "ledger", ledger.verifier_key).problems}
        assert "checkpoint.ahead" in found
        with pytest.raises(LedgerTamperedError):
            ledger.checkpoint()


def append_in_process(folder: Path, prefix: str, barrier: threading.Barrier) -> None:
    barrier.wait(60)
    with Ledger.open(folder) as ledger:
        for number in range(25):
            ledger.append(requested(f"{prefix}-{number}"))
            if number % 10 == 0:
                ledger.checkpoint()


def test_processes_share_a_ledger(url: str, tmp_path: Path) -> None:
    """Several processes that fill one ledger at once give one contiguous, valid tree."""
    folder = tmp_path / "ledger"
    Ledger.open(folder, database=url).close()
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(3)
    processes = [context.Process(target=append_in_process, args=(folder, name, barrier)) for name in ("a", "b", "c")]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    with Ledger.open(folder, create=False) as ledger:
        ledger.checkpoint()
        report = verify_ledger(folder, ledger.verifier_key)
    assert (report.problems, report.size, report.unsigned_tail) == ((), 75, 0)


def test_lost_connection_is_a_write_error(url: str, tmp_path: Path) -> None:
    """When the server goes away in the middle, the append fails with a hint and nothing is half written."""
    with Ledger.open(tmp_path / "ledger", database=url) as ledger:
        ledger.append(requested("a"))
        with pytest.raises(LedgerWriteError) as caught:
            append_while_the_server_goes(ledger, url)
        assert caught.value.hint
        assert ledger.size == 1
        assert ledger.append(requested("c")).index == 1


def append_while_the_server_goes(ledger: Ledger, url: str) -> None:
    others = "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    with ledger._store.writing() as writer:
        writer.append_all([("b", "requested", b"{}")])
        execute(url, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity " + others)  # noqa: S608
        writer.size()


def test_locked_database_is_a_write_error(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer that cannot get the lock in time gives up with a hint."""
    monkeypatch.setattr("safegen.ledger.postgresql.BUSY_SECONDS", 0.1)
    with Ledger.open(tmp_path / "ledger", database=url) as ledger, psycopg.connect(url) as other:
        other.execute("SELECT pg_advisory_xact_lock(%s)", [0x53474C31])
        with pytest.raises(LedgerWriteError) as caught:
            ledger.append(requested("a"))
    assert "another process" in caught.value.hint


def test_role_without_rights_changes_nothing(url: str, tmp_path: Path) -> None:
    """A role with SELECT and INSERT alone writes the ledger, and may not change a row even without triggers."""
    folder = tmp_path / "ledger"
    with Ledger.open(folder, database=url) as ledger:
        ledger.append(requested("a"))
    execute(url, "DROP ROLE IF EXISTS writer")
    execute(url, "CREATE ROLE writer LOGIN")
    execute(url, "GRANT SELECT, INSERT ON entries, nodes, checkpoints TO writer")
    (folder / "database.url").write_text(url.replace("postgres@", "writer@"))
    with Ledger.open(folder, create=False) as ledger:
        assert ledger.append(requested("b")).index == 1
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        execute(url.replace("postgres@", "writer@"), "UPDATE entries SET stage = 'closed'")
    execute(url, "REVOKE ALL ON entries, nodes, checkpoints FROM writer")
    execute(url, "DROP ROLE writer")


def test_wrong_addresses_are_errors(url: str, tmp_path: Path) -> None:
    """No server, no ledger in the database, another database than before: each is an error with a place."""
    with pytest.raises(LedgerError) as caught:
        Ledger.open(tmp_path / "a", database="postgresql://nobody@/none?host=/nowhere")
    assert "reached" in caught.value.hint
    with pytest.raises(LedgerError, match="cannot use the database"):
        Ledger.open(tmp_path / "b", database="nonsense")
    folder = tmp_path / "c"
    folder.mkdir()
    (folder / "database.url").write_text(url)
    with pytest.raises(LedgerError, match="holds no ledger"):
        LedgerReader.open_read_only(folder)
    Ledger.open(tmp_path / "d").close()
    with pytest.raises(LedgerError, match="another database"):
        Ledger.open(tmp_path / "d", database=url)


def test_console_shows_it(url: str, tmp_path: Path) -> None:
    """The console's index is built from the server, and follows it."""
    with Ledger.open(tmp_path / "ledger", database=url) as ledger:
        ledger.append_many(whole_request("first"))
        with Console(tmp_path / "ledger", index=tmp_path / "index.db") as console:
            console.index_now()
            ledger.append_many(whole_request("second"))
            console.index_now()
            with console.search() as search:
                assert [item.request_id for item in search.each(Filter())] == ["second", "first"]
            assert [entry.index for entry in console.reader.find("second")] == [5, 6, 7, 8, 9]


def test_old_records_go_and_everything_verifies(url: str, tmp_path: Path) -> None:
    """Retention as in a file: bodies go, hashes stay, the ledger says so, twice over, and both verifiers take it."""
    with Ledger.open(tmp_path / "ledger", database=url) as ledger:
        for name in ("a", "b"):
            ledger.append_many(whole_request(name))
            assert ledger.prune(utc_now(), reason="old", by="auditor") == 5
        gone = [entry.index for entry in ledger.entries() if not entry.body]
        assert gone == [0, 1, 2, 3, 4, 6, 7, 8, 9, 10]
        report = verify_ledger(ledger.folder, ledger.verifier_key)
        assert (report.problems, report.pruned) == ((), 10)
        ledger.append_many(whole_request("c"))
        ledger.export(tmp_path / "export.jsonl")
    assert SECOND.verify_log(tmp_path / "export.jsonl", ledger.verifier_key)["pruned"] == 10


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE entries SET body = '' WHERE \"index\" = 7",
        "UPDATE entries SET body = 'x' WHERE \"index\" = 0",
        "UPDATE entries SET body = '', stage = 'closed' WHERE \"index\" = 0",
        'DELETE FROM entries WHERE "index" = 0',
        'UPDATE prunings SET "stop" = 99',
        "DELETE FROM prunings",
        "TRUNCATE prunings",
    ],
)
def test_pruning_allows_no_more_than_was_recorded(url: str, tmp_path: Path, statement: str) -> None:
    """After a pruning the triggers still refuse everything else."""
    with Ledger.open(tmp_path / "ledger", database=url) as ledger:
        ledger.append_many(whole_request("a"))
        ledger.prune(utc_now(), reason="old")
        ledger.append_many(whole_request("b"))
    with pytest.raises(psycopg.errors.IntegrityConstraintViolation, match="append-only"):
        execute(url, statement)
