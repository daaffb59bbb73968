"""Reading a ledger without its secrets: what an auditor's tools use.

Invariants: nothing is written, no private key is loaded; what is read is shown as it is and not verified, which is the
work of `verify_ledger`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from safegen.ledger.folder import DATABASE_FILE
from safegen.ledger.record import Record, Requested
from safegen.ledger.store import Store
from safegen.ledger.summary import RequestSummary, summarise

if TYPE_CHECKING:
    from safegen.ledger.transaction import Entry


class LedgerReader:
    """A ledger to read. Use `LedgerReader.open`."""

    def __init__(self, store: Store, folder: Path) -> None:
        self._store = store
        self._folder = folder

    @classmethod
    def open_read_only(cls, folder: Path) -> LedgerReader:
        """Open the ledger in a folder for reading.

        Raises:
            LedgerError: if there is none or it cannot be read.
        """
        return LedgerReader(Store.open(folder / DATABASE_FILE, read_only=True), folder)

    @property
    def folder(self) -> Path:
        """The folder of the ledger."""
        return self._folder

    @property
    def size(self) -> int:
        """Number of durable entries."""
        with self._store.reading() as reader:
            return reader.size()

    def root(self) -> bytes:
        """Root over all durable entries."""
        with self._store.reading() as reader:
            return reader.root()

    def entries(self, start: int = 0, stop: int | None = None) -> Iterator[Entry]:
        """The entries numbered from `start` up to `stop`, by default all that there are now."""
        due = start
        end = self.size if stop is None else stop
        while due < end:
            with self._store.reading() as reader:
                found = reader.rows(due, end)
            if not found:
                return
            yield from (row.entry for row in found)
            due = found[-1].entry.index + 1

    def find(self, request_id: str) -> list[Entry]:
        """The entries of one request, in order; empty if there is no such request."""
        with self._store.reading() as reader:
            return [row.entry for row in reader.find(request_id)]

    def open_requests(self) -> list[Requested]:
        """The requests that nothing has ended yet, oldest first."""
        with self._store.reading() as reader:
            records: list[Record] = [row.entry.record for row in reader.open_requests()]
        return [record for record in records if isinstance(record, Requested)]

    def recent_requests(self, limit: int = 20) -> list[RequestSummary]:
        """What became of the latest requests, newest first."""
        with self._store.reading() as reader:
            found = [(name, reader.find(name)) for name in reader.recent_requests(limit)]
        return [summarise(name, [row.entry.record for row in rows]) for name, rows in found]

    def close(self) -> None:
        """Let go of the files."""
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
