"""The file of the index: where it lies, its tables, and what becomes of it when it is damaged.

Invariants: only its owner may read it; whatever is wrong with it, it is thrown away and made anew, never repaired;
readers open it read-only.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from safegen.errors import ConsoleError

FORMAT = 1
SEGMENT_BITS = 16
SEGMENT = 1 << SEGMENT_BITS
"""Items of a segment: as many as one Roaring container holds."""
_BUSY_SECONDS = 30
_TABLES = (
    "CREATE TABLE state(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE items(item INTEGER PRIMARY KEY, request_id TEXT UNIQUE, body BLOB NOT NULL)",
    "CREATE TABLE terms(term INTEGER PRIMARY KEY, kind TEXT NOT NULL, name TEXT NOT NULL, folded TEXT NOT NULL)",
    "CREATE UNIQUE INDEX terms_by_name ON terms(kind, name)",
    "CREATE TABLE postings(term INTEGER NOT NULL, segment INTEGER NOT NULL, bits BLOB NOT NULL)",
    "CREATE UNIQUE INDEX postings_of_term ON postings(term, segment)",
    f"PRAGMA user_version = {FORMAT}",
)


def index_path(folder: Path, identity: str) -> Path:
    """Where the index of a ledger lies by default: in the user's cache, named after the ledger's place and key."""
    from platformdirs import user_cache_path

    name = hashlib.sha256(f"{folder.resolve()}\0{identity}".encode()).hexdigest()[:24]
    return user_cache_path("safegen") / "console" / f"{name}.db"


class IndexFile:
    """The database file of an index."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._checked = False

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A read-only connection that sees one state throughout.

        Raises:
            ConsoleError: if there is no index, or it is damaged.
        """
        try:
            with closing(self._connect("ro")) as connection:
                connection.execute("BEGIN")
                yield connection
        except sqlite3.Error as error:
            raise ConsoleError(
                f"the console's index failed: {error}", where=str(self.path), hint="it is rebuilt by itself: try again"
            ) from error

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A write transaction; one at a time among all processes.

        Raises:
            sqlite3.DatabaseError: if the file is damaged; `discard` it then.
        """
        with closing(self._connect("rwc")) as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                with suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    def prepare(self) -> None:
        """Make the file, or throw away one of another format.

        Raises:
            ConsoleError: if it cannot be made.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.path.touch(mode=0o600)
            if not self._is_usable():
                self.discard()
                self.path.touch(mode=0o600)
                self._create()
        except (OSError, sqlite3.Error) as error:
            raise ConsoleError(
                f"cannot make the console's index: {error}", where=str(self.path), hint="choose a file with --index"
            ) from error

    def discard(self) -> None:
        """Delete the file and what SQLite keeps beside it."""
        self._checked = False
        for suffix in ("", "-wal", "-shm", "-journal"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)

    def _is_usable(self) -> bool:
        """Whether the file is there and of this format, and when it is first looked at also whether it is whole."""
        try:
            with closing(self._connect("rw")) as connection:
                found = connection.execute("PRAGMA user_version").fetchone()[0]
                whole = self._checked or connection.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok"
        except sqlite3.Error:
            return False
        self._checked = bool(whole)
        return bool(found == FORMAT and whole)

    def _create(self) -> None:
        with closing(self._connect("rwc")) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("BEGIN IMMEDIATE")
            for statement in _TABLES:
                connection.execute(statement)
            connection.execute("COMMIT")

    def _connect(self, mode: str) -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"file:{quote(str(self.path.absolute()))}?mode={mode}",
            uri=True,
            timeout=_BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
        )
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA temp_store = MEMORY")
        return connection
