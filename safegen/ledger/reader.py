"""Reading a ledger without its secrets: what an auditor's tools use.

Invariants: nothing is written, no private key is loaded; what is read is shown as it is and not verified, which is the
work of `verify_ledger`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from safegen.errors import LedgerError
from safegen.ledger.analysis import Analysis
from safegen.ledger.checkpoint import Checkpoint, VerifierKey, verify_checkpoint
from safegen.ledger.export import all_rows, write_jsonl, write_lines, write_parquet
from safegen.ledger.folder import open_store
from safegen.ledger.receipt import Receipt
from safegen.ledger.record import Record, Requested
from safegen.ledger.statements import statements
from safegen.ledger.summary import RequestSummary, summarise

if TYPE_CHECKING:
    from safegen.ledger.store import Store
    from safegen.ledger.transaction import Entry, Reader


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
        return LedgerReader(open_store(folder, read_only=True), folder)

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
        return [summarise(name, [row.entry for row in rows]) for name, rows in found]

    def prove(self, index: int, verifier_key: VerifierKey) -> Receipt:
        """Proof that entry `index` is in the ledger, as of the newest checkpoint that was signed over it.

        Raises:
            LedgerError: if there is no such entry, or no checkpoint covers it yet.
            LedgerTamperedError: if the newest checkpoint is not signed by the key.
        """
        with self._store.reading() as reader:
            if not 0 <= index < reader.size():
                raise LedgerError(f"the ledger has no entry {index}", where=str(self._folder))
            text = reader.latest_checkpoint()
            head = None if text is None else verify_checkpoint(text, verifier_key)
            if head is None or index >= head.size:
                raise LedgerError(
                    f"entry {index} is not signed yet",
                    where=str(self._folder),
                    hint="the process that writes the ledger signs the next checkpoint, e.g. when it ends a request",
                )
            return build_receipt(reader, index, head)

    def export(self, path: Path) -> int:
        """Write the whole ledger to a file, as Parquet if it is named so and else as JSON Lines; gives its entries.

        Raises:
            LedgerError: if it cannot be written.
        """
        with self._store.reading() as reader:
            if path.suffix == ".parquet":
                return write_parquet(reader, path)
            return write_jsonl(reader, self._folder, path)

    def export_statements(self, path: Path, territory: Collection[str]) -> int:
        """Write statements of reasons for what was refused or withheld, one JSON object a line; gives their number.

        Raises:
            LedgerError: if the territory is none, a record cannot be read, or the file cannot be written.
        """
        with self._store.reading() as reader:
            records = (row.entry.record for row in all_rows(reader) if row.entry.body)
            return write_lines(path, statements(records, territory))

    def analyse(self) -> Analysis:
        """The ledger as tables for SQL, as it is now.

        Raises:
            LedgerError: if what that needs is not installed.
        """
        with self._store.reading() as reader:
            return Analysis(reader)

    def close(self) -> None:
        """Let go of the files."""
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def build_receipt(reader: Reader, index: int, head: Checkpoint) -> Receipt:
    """The proof of an entry below the size of a checkpoint."""
    row = reader.rows(index, index + 1)[0]
    return receipt_of(reader, row.request_id, row.entry, head)


def receipt_of(reader: Reader, request_id: str | None, entry: Entry, head: Checkpoint) -> Receipt:
    """The same for an entry at hand."""
    path = reader.inclusion_proof(entry.index, head.size)
    return Receipt(
        origin=head.origin,
        request_id=request_id,
        index=entry.index,
        leaf_hash=entry.leaf_hash.hex(),
        tree_size=head.size,
        path=tuple(step.hex() for step in path),
        checkpoint=head.text,
    )
