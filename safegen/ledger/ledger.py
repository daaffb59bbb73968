"""The ledger that a guard writes: append records, sign tree heads, hand out receipts.

Invariants: a record is durable when `append` returns; a checkpoint is durable with what it covers before anybody sees
it, never contradicts an earlier one and never shrinks; a request ends once, whoever ends it; a ledger keeps its keys.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from safegen.errors import LedgerError
from safegen.ledger.checkpoint import Checkpoint, parse_checkpoint
from safegen.ledger.commit import GroupCommit, append_now
from safegen.ledger.events import emit
from safegen.ledger.folder import (
    CHECKPOINT_FILE,
    has_database,
    keep_address,
    make_folder,
    open_store,
    own_keys,
    publish_key,
)
from safegen.ledger.heads import Heads, check_extends
from safegen.ledger.parts import Decider, SealedText, parse_timestamp, timestamp
from safegen.ledger.publishing import CheckpointSink, FileSink, Publisher, Witness
from safegen.ledger.reader import LedgerReader, build_receipt, receipt_of
from safegen.ledger.record import Pruned, Record, Recovered, canonical_bytes, request_of
from safegen.ledger.retention import first_not_older, remove_bodies
from safegen.ledger.sealing import PromptKeys, SealedField
from safegen.ledger.streams import EventStreams
from safegen.ledger.witness import witnesses_of

if TYPE_CHECKING:
    from safegen.ledger.keys import LedgerKeys
    from safegen.ledger.receipt import Receipt
    from safegen.ledger.store import Store
    from safegen.ledger.transaction import Entry

DEFAULT_GRACE = timedelta(minutes=15)
Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """The present moment."""
    return datetime.now(UTC)


class Ledger(LedgerReader):
    """A ledger to write. Use `Ledger.open`; threads may share it, processes each open their own."""

    def __init__(
        self,
        store: Store,
        folder: Path,
        keys: LedgerKeys,
        clock: Clock,
        *,
        witnesses: Sequence[Witness] = (),
        sinks: Sequence[CheckpointSink] = (),
        events: Iterable[str] = (),
    ) -> None:
        super().__init__(store, folder)
        self._keys = keys
        self._clock = clock
        self._events = EventStreams(events, ledger=keys.name)
        self._heads = Heads(folder, keys)
        self._commit = GroupCommit(store, self._heads)
        self._begun = ThreadPoolExecutor(max_workers=1, thread_name_prefix="safegen-ledger")
        self._publisher = Publisher(
            FileSink(folder / CHECKPOINT_FILE, store.writing), self._prove_growth, witnesses=witnesses, sinks=sinks
        )

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        keys: LedgerKeys | None = None,
        clock: Clock = utc_now,
        create: bool = True,
        database: str | None = None,
        witnesses: Sequence[Witness] = (),
        sinks: Sequence[CheckpointSink] = (),
        events: Iterable[str] = (),
    ) -> Ledger:
        """Open the ledger in a folder, by default creating it and its keys on first use.

        Args:
            folder: holds ledger.db, keys.json (owner only), ledger.pub and checkpoint.
            keys: the secrets, if they are kept elsewhere; keys.json is then neither read nor written.
            clock: gives the present moment, with its time zone.
            create: whether a missing ledger is made.
            database: address of a PostgreSQL database, as postgresql://host/name, for a new ledger that is to live
                there; afterwards the folder knows it. Passwords belong into ~/.pgpass.
            witnesses: who cosigns checkpoints, besides those that the file `witnesses` in the folder names.
            sinks: where checkpoints go besides the folder.
            events: where records are written as events once they are durable, as `EventStreams` takes them.

        Raises:
            LedgerWriteError: if it cannot be created or written.
            LedgerTamperedError: if its last checkpoint contradicts its entries.
            LedgerError: if it is missing, damaged, or belongs to other keys.
        """
        is_new = not has_database(folder)
        if create:
            make_folder(folder)
        elif is_new:
            raise LedgerError("there is no ledger here", where=str(folder), hint="check the path of the folder")
        keys = keys or own_keys(folder, may_generate=create and is_new)
        if database is not None:
            keep_address(folder, database)
        publish_key(folder, keys)
        witnesses = [*witnesses_of(folder), *witnesses]
        store = open_store(folder, create=create)
        try:
            ledger = cls(store, folder, keys, clock, witnesses=witnesses, sinks=sinks, events=events)
        except LedgerError:
            store.close()
            raise
        try:
            ledger._first_checkpoint()
        except LedgerError:
            ledger.close()
            raise
        return ledger

    @property
    def verifier_key(self) -> str:
        """The public key that verifies this ledger, as in the file ledger.pub."""
        return str(self._keys.verifier_key)

    def now(self) -> str:
        """The present moment, as the records write it."""
        return timestamp(self._clock())

    def commit(self, text: str) -> str:
        """Keyed commitment to a text, e.g. a prompt."""
        return self._keys.commit(text)

    def seal(self, request_id: str, field: SealedField, text: str) -> SealedText:
        """Encrypt a prompt for the `requested` record under a key of its own, kept in the file prompt-keys.db.

        Raises:
            LedgerWriteError: if it is too long, sealed already, or its key cannot be kept.
        """
        return PromptKeys(self._folder).seal(request_id, field, text)

    def append(self, record: Record) -> Entry:
        """Add one record; it is durable when this returns. Threads that append at once share a sync of the disk.

        Raises:
            LedgerWriteError: if it is too long, out of order within its request, or cannot be made durable.
        """
        return self.append_many([record])[0]

    def append_many(self, records: Iterable[Record]) -> list[Entry]:
        """Add several records with one commit: all of them are durable when this returns, or none is.

        Raises:
            LedgerWriteError: as for `append`.
        """
        prepared = self._prepared(records)
        entries = self._commit.submit(prepared).entries
        self._emit(entries, (record for record, _ in prepared))
        return entries

    def begin_append(self, records: Callable[[], Iterable[Record]]) -> Future[list[Entry]]:
        """Begin to add records with one commit while the caller does something else; the result says how it went.

        Args:
            records: gives them; called in the background, before everything that is begun later.
        """
        return self._begun.submit(lambda: self.append_many(records()))

    def append_signed(self, records: Iterable[Record]) -> Receipt:
        """Add records with one commit that holds a checkpoint over them too; gives the receipt of the last one.

        The checkpoint is durable with the entries, and is published soon after.

        Raises:
            LedgerWriteError: as for `append`.
            LedgerTamperedError: if the entries contradict an earlier checkpoint; nothing is added then.
        """
        prepared = self._prepared(records)
        entries, head = self._commit.submit(prepared, signed=True)
        if head is None:
            raise ValueError("there must be a record to sign")
        self._emit(entries, (record for record, _ in prepared))
        self._publisher.soon(head)
        with self._store.reading() as reader:
            return receipt_of(reader, request_of(prepared[-1][0]), entries[-1], head)

    def checkpoint(self) -> Checkpoint:
        """Sign the head of the tree over all durable entries, keep it, and publish it as the file `checkpoint`.

        Raises:
            LedgerTamperedError: if the entries contradict an earlier checkpoint; nothing is signed then.
            LedgerWriteError: if it cannot be kept or published.
        """
        with self._store.writing() as writer:
            signed = self._heads.sign(writer)
        self._publisher.now(signed)
        return signed

    def receipt(self, index: int) -> Receipt:
        """Proof that entry `index` is in the ledger; signs a new checkpoint only if no earlier one covers it.

        Raises:
            LedgerError: if there is no such entry.
        """
        with self._store.reading() as reader:
            last = self._heads.last(reader)
        head = last if last is not None and index < last.size else self.checkpoint()
        if not 0 <= index < head.size:
            raise LedgerError(f"the ledger has no entry {index}", where=str(self._folder))
        with self._store.reading() as reader:
            return build_receipt(reader, index, head)

    def recover(self, *, grace: timedelta = DEFAULT_GRACE) -> list[Entry]:
        """Close the requests that have been open for longer than `grace`, as their process is taken to be gone.

        Should it live after all, its own `closed` is refused from here on, and so no image of it is released.

        Raises:
            LedgerWriteError: if the records cannot be made durable.
        """
        now = self._clock()
        reason = f"no end was recorded within {int(grace.total_seconds())} seconds"
        ends: list[Record] = []
        with self._store.writing() as writer:
            for row in writer.open_requests():
                opened = row.entry.record
                if row.request_id is None or now - parse_timestamp(opened.time) < grace:
                    continue
                ends.append(Recovered(time=timestamp(now), request_id=row.request_id, reason=reason))
            entries = append_now(writer, self._prepared(ends))
        self._emit(entries, ends)
        return entries

    def prune(self, before: datetime, *, reason: str, by: str = "") -> int:
        """Remove the bodies of ended requests from before a moment; gives how many went. Hashes and proofs stay.

        The ledger gets a `pruned` record that says so, and a checkpoint over it. `by` names who gave the order.

        Raises:
            LedgerWriteError: if it cannot be made durable, or the database's role may not do it.
        """
        signed = self.checkpoint().size
        with self._store.writing() as writer:
            stop = first_not_older(writer, timestamp(before), signed)
            decider = (Decider(kind="person", name=by),) if by else ()
            record = Pruned(time=self.now(), stop=stop, reason=reason, decided_by=decider)
            (entry,) = append_now(writer, self._prepared([record]))
            count = remove_bodies(writer, record, entry.index)
        self._store.scrub()
        self._emit([entry], [record])
        self.checkpoint()
        return count

    def close(self) -> None:
        """Finish what was begun in the background, and let go of the files."""
        self._begun.shutdown(wait=True)
        self._publisher.close()
        self._events.close()
        super().close()

    def _prepared(self, records: Iterable[Record]) -> list[tuple[Record, bytes]]:
        return [(record, canonical_bytes(record)) for record in records]

    def _emit(self, entries: Iterable[Entry], records: Iterable[Record]) -> None:
        for entry, record in zip(entries, records, strict=True):
            emit(entry.index, entry.leaf_hash, record)
            self._events.write(entry, record)

    def _first_checkpoint(self) -> None:
        """Sign the empty tree of a new ledger, and hold an old one against its last checkpoint.

        What a crash kept from being published is published now.
        """
        with self._store.reading() as reader:
            last = self._heads.last(reader)
            if last is not None:
                check_extends(reader, reader.size(), last)
        if last is None:
            self.checkpoint()
        elif self._heads.published() is None or parse_checkpoint(self._heads.published() or "").size < last.size:
            self._publisher.now(last)

    def _prove_growth(self, old: int, new: int) -> list[bytes]:
        with self._store.reading() as reader:
            return reader.consistency_proof(old, new)
