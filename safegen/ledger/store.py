"""The ledger's database: one SQLite file through SQLAlchemy Core, the only module that talks to SQL.

Invariants: what a write transaction did is on disk when it returns (write-ahead log, synchronous=FULL), or nothing of
it happened. Only one writer at a time among all threads and processes (BEGIN IMMEDIATE), so the log cannot fork. Every
failure of the database is a `LedgerError`, on writing a `LedgerWriteError`, with a hint.
"""

from __future__ import annotations

import os
import random
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import QueuePool

from safegen.errors import LedgerError, LedgerWriteError
from safegen.ledger.migrations import MIGRATIONS, application_id, migrate, steps_done
from safegen.ledger.tables import APPLICATION_ID
from safegen.ledger.transaction import Reader, Writer

BUSY_SECONDS = 10
DURABILITY = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA fullfsync = ON",
    "PRAGMA secure_delete = ON",
)
"""What makes a commit durable: the log is synced before the commit returns, and before the file is changed."""
_OVERWRITE = "PRAGMA secure_delete = ON"
_ASK_SECONDS = 0.001
_TEXT = partial(str, encoding="utf-8", errors="replace")
"""Reads any bytes as text, as a forger may have stored them."""
_HINTS = {
    "SQLITE_FULL": "the disk is full: free some space; nothing was written",
    "SQLITE_BUSY": f"another process held the ledger for more than {BUSY_SECONDS} seconds: find and end it",
    "SQLITE_LOCKED": "another thread holds the ledger: close what still reads it",
    "SQLITE_READONLY": "the ledger or its folder may not be written: check owner, mode and mount",
    "SQLITE_CANTOPEN": "check that the folder exists and may be written",
    "SQLITE_PERM": "check the owner and mode of the folder",
    "SQLITE_CORRUPT": "the file is damaged: keep it as evidence and restore a copy",
    "SQLITE_NOTADB": "the file is not a ledger: keep it as evidence and restore a copy",
    "SQLITE_IOERR": "the disk failed: check the system log",
    "SQLITE_CONSTRAINT": "rows of the ledger are only ever added",
}


class Store:
    """A ledger's database file. Threads may share one; a forked process opens its own."""

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self._path = path
        self._where = str(path)
        self._process = process_id()
        self._write_lock = threading.Lock()
        self._read_only = read_only
        self._engine = _engine(path, read_only=read_only)

    @classmethod
    def open(cls, path: Path, *, read_only: bool = False, create: bool = False) -> Store:
        """Open a database, on request creating it.

        Raises:
            LedgerError: if it is missing, damaged, of another kind, or cannot be created.
        """
        if not path.exists() and (read_only or not create):
            raise LedgerError("there is no ledger here", where=str(path), hint="check the path of the folder")
        store = cls(path, read_only=read_only)
        try:
            store._prepare(create=create and not read_only)
        except LedgerError:
            store.close()
            raise
        return store

    @contextmanager
    def reading(self) -> Iterator[Reader]:
        """A read transaction: one consistent state.

        Raises:
            LedgerError: if the database fails.
        """
        with self._connected(LedgerError, write=False) as connection:
            yield Reader(connection)

    @contextmanager
    def writing(self) -> Iterator[Writer]:
        """A write transaction: durable when the block ends, undone if it raises.

        Raises:
            LedgerWriteError: if the database fails.
        """
        with self._write_lock, self._connected(LedgerWriteError, write=True) as connection:
            yield Writer(connection)

    def scrub(self) -> None:
        """Move everything from the write-ahead log into the file, so that what was overwritten there is gone.

        Raises:
            LedgerWriteError: if the database fails.
        """
        try:
            with self._write_lock, self._engine.connect() as connection:
                raw = connection.connection.driver_connection
                if isinstance(raw, sqlite3.Connection):
                    raw.commit()
                    raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except self._failures as error:
            raise self._translated(error, LedgerWriteError) from error

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose(close=self._process == process_id())

    def check_process(self, kind: type[LedgerError] = LedgerWriteError) -> None:
        """Raise an error of that kind if this process was forked after the store was opened."""
        if self._process != process_id():
            raise kind(
                "the ledger was opened before this process was forked",
                where=self._where,
                hint="open the ledger in each process, after the fork",
            )

    @contextmanager
    def _connected(self, kind: type[LedgerError], *, write: bool) -> Iterator[Connection]:
        self.check_process(kind)
        try:
            with self._engine.connect() as connection, connection.execution_options(write=write).begin():
                yield connection
        except self._failures as error:
            raise self._translated(error, kind) from error

    @property
    def _failures(self) -> tuple[type[Exception], ...]:
        """What the database raises."""
        return (SQLAlchemyError, sqlite3.Error)

    def _translated(self, error: Exception, kind: type[LedgerError]) -> LedgerError:
        original: Any = error.orig if isinstance(error, DBAPIError) else error
        name = _error_name(original)
        hint = next((hint for prefix, hint in _HINTS.items() if name.startswith(prefix)), "")
        if isinstance(error, PoolTimeoutError):
            hint = "too many threads read the ledger at once"
        return kind(f"the ledger's database failed: {original}", where=self._where, hint=hint)

    def _prepare(self, *, create: bool) -> None:
        """Create the tables if asked, bring old ones up to date, and check that the file is a ledger."""
        with self._connected(LedgerError, write=False) as connection:
            found, done = application_id(connection), steps_done(connection)
        known = len(MIGRATIONS)
        if (found == 0 and create) or (found == APPLICATION_ID and done < known and not self._read_only):
            with self._write_lock, self._connected(LedgerWriteError, write=True) as connection:
                if application_id(connection) in {0, APPLICATION_ID}:
                    migrate(connection)
                found = application_id(connection)
        if found != APPLICATION_ID:
            raise LedgerError("the file is no ledger", where=self._where, hint="check the path of the folder")
        if done > known:
            raise LedgerError(
                "the ledger was written by a newer safegen", where=self._where, hint="read and write it with that one"
            )


def process_id() -> int:
    """The process that opens a store, which alone may use it."""
    return os.getpid()


def _engine(path: Path, *, read_only: bool) -> Engine:
    engine = create_engine("sqlite://", creator=lambda: _connect(path, read_only=read_only), poolclass=QueuePool)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        write = connection.get_execution_options().get("write", False)
        if write:
            _begin_writing(connection)
        else:
            connection.exec_driver_sql("BEGIN")

    return engine


def _begin_writing(connection: Connection) -> None:
    """Take the write lock, asking about every millisecond; SQLite's own waiting sleeps for up to 100 ms at a time."""
    end = time.monotonic() + BUSY_SECONDS
    connection.exec_driver_sql("PRAGMA busy_timeout = 0")
    try:
        while True:
            try:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            except DBAPIError as error:
                if not _error_name(error.orig).startswith("SQLITE_BUSY") or time.monotonic() > end:
                    raise
                time.sleep(random.uniform(0.5, 1.5) * _ASK_SECONDS)  # noqa: S311 - no secret
            else:
                return
    finally:
        connection.exec_driver_sql(f"PRAGMA busy_timeout = {int(BUSY_SECONDS * 1000)}")


def _connect(path: Path, *, read_only: bool) -> sqlite3.Connection:
    connection = _open_file(path, read_only=read_only)
    try:
        for statement in () if read_only else (*DURABILITY, _OVERWRITE):
            connection.execute(statement)
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _open_file(path: Path, *, read_only: bool) -> sqlite3.Connection:
    mode = "ro" if read_only else "rwc"
    if read_only and _is_frozen(path):
        mode += "&immutable=1"
    connection = sqlite3.connect(
        f"file:{quote(str(path.absolute()))}?mode={mode}",
        uri=True,
        timeout=BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
    )
    connection.text_factory = _TEXT
    return connection


def _is_frozen(path: Path) -> bool:
    """Whether the file lies on a medium that cannot change, so that SQLite needs no lock files beside it."""
    return not os.access(path.parent, os.W_OK) and not path.with_name(f"{path.name}-wal").exists()


def _error_name(original: object) -> str:
    return str(getattr(original, "sqlite_errorname", ""))
