"""Brings the index up to the ledger: reads the entries that are new, batch by batch.

Invariants: each batch is one transaction that begins where the last one ended, so any number of processes may build
at once and a build that is cut off goes on later; what was built by steps equals what is built in one go. A ledger
whose first entries are not those that were indexed, or that was pruned since, is indexed anew.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

from pydantic import ValidationError

from safegen.errors import ConsoleError, LedgerTamperedError
from safegen.ledger.record import LEDGER_STAGES, SCHEMA_VERSION, Record
from safegen.ledger.store import Store
from safegen.ledger.transaction import Reader, StoredRow
from safegen.serve.console.index.database import IndexFile
from safegen.serve.console.index.item import RECORD, STAGES, Item, add_entry, add_record, note
from safegen.serve.console.index.writing import Writing

BATCH = 10_000
"""Entries of one transaction."""
_ATTEMPTS = 3
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class IndexState:
    """How far the index has come: entries indexed, entries of the ledger."""

    indexed: int
    size: int

    @property
    def complete(self) -> bool:
        """Whether nothing is missing."""
        return self.indexed >= self.size


class _OfAnotherLedgerError(Exception):
    """What was indexed is not what the ledger holds (any more)."""


def update_index(
    store: Store, file: IndexFile, *, progress: Progress | None = None, stop: Callable[[], bool] | None = None
) -> IndexState:
    """Index all entries that are not indexed yet.

    Args:
        store: the ledger, open for reading.
        file: the index, which is made if it is missing and made anew if it is damaged or stale.
        progress: called with (entries indexed, entries of the ledger) after each batch.
        stop: asked after each batch whether to leave it at that.

    Raises:
        ConsoleError: the index cannot be made.
        LedgerError: the ledger cannot be read.
    """
    for _ in range(_ATTEMPTS):
        file.prepare()
        try:
            return _catch_up(store, file, progress, stop)
        except sqlite3.OperationalError as error:
            hint = "another console may be building it, or the disk is full"
            raise ConsoleError(f"the console's index failed: {error}", where=str(file.path), hint=hint) from error
        except (_OfAnotherLedgerError, sqlite3.DatabaseError) as error:
            problem = str(error)
            file.discard()
    raise ConsoleError(f"the console's index cannot be built: {problem}", where=str(file.path))


def _catch_up(store: Store, file: IndexFile, progress: Progress | None, stop: Callable[[], bool] | None) -> IndexState:
    while True:
        state = _batch(store, file)
        if progress is not None:
            progress(state.indexed, state.size)
        if state.complete or (stop is not None and stop()):
            return state


def _batch(store: Store, file: IndexFile) -> IndexState:
    """Index the next entries; the ledger is let go of before anything is written, so that neither fails for both."""
    with file.writing() as connection:
        writing = Writing(connection)
        with store.reading() as reader:
            size, start = reader.size(), writing.indexed
            if start > size or (start and _root(reader, start) != writing.root):
                raise _OfAnotherLedgerError("the ledger has changed")
            rows = list(islice(_rows(reader, start, size), BATCH))
            stop = size if len(rows) < BATCH else rows[-1].entry.index + 1
            root = _root(reader, stop)
        if start == 0:
            writing.begin(size)
        for row in rows:
            _add(writing, row)
        if stop > start:
            writing.finish(stop, root)
    return IndexState(stop, size)


def _root(reader: Reader, size: int) -> str:
    """The root as the ledger's nodes give it; a ledger whose nodes are gone is shown all the same."""
    try:
        return reader.root(size).hex()
    except LedgerTamperedError:
        return "none"


def _rows(reader: Reader, start: int, stop: int) -> Iterator[StoredRow]:
    while start < stop and (rows := reader.rows(start, stop)):
        yield from rows
        start = rows[-1].entry.index + 1


def _add(writing: Writing, row: StoredRow) -> None:
    entry = row.entry
    record, flag = _read(entry.body)
    if record is not None and record.stage == "pruned" and entry.index >= writing.begun:
        raise _OfAnotherLedgerError("the ledger was pruned")
    owner = None if row.request_id is None else str(row.request_id)
    if owner is None:
        stage = record.stage if record is not None else "entry"
        item = Item(first=entry.index, kind=stage if stage in LEDGER_STAGES else "entry", outcome="")
        writing.add(item)
    else:
        item = writing.item(owner, entry.index)
    add_entry(item, entry.index)
    if record is None:
        note(item, flag)
        return
    if getattr(record, "request_id", None) != owner or record.stage != row.stage:
        note(item, "mislabelled")
    add_record(item, record)


def _read(body: bytes) -> tuple[Record | None, str]:
    """The record, or None and the flag that says why there is none."""
    if not body:
        return None, "pruned"
    try:
        return RECORD.validate_json(body, strict=True), ""
    except ValidationError:
        return None, "newer version" if is_newer(body) else "unreadable"


def is_newer(body: bytes) -> bool:
    """Whether the bytes say that a newer safegen wrote them."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return False
    if not isinstance(value, dict):
        return False
    version = value.get("schema_version")
    return (isinstance(version, int) and version > SCHEMA_VERSION) or value.get("stage", "closed") not in STAGES
