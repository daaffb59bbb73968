"""The ledger that a guard writes: append records, sign tree heads, hand out receipts.

Invariants: a record is durable when `append` returns; a checkpoint is signed over durable entries only, never
contradicts an earlier one and never shrinks; a request ends once, whoever ends it; a ledger keeps its keys.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from safegen.errors import LedgerError, LedgerTamperedError, LedgerWriteError
from safegen.ledger.checkpoint import Checkpoint, verify_checkpoint
from safegen.ledger.commit import GroupCommit, append_now
from safegen.ledger.events import emit
from safegen.ledger.files import replace_whole
from safegen.ledger.folder import (
    CHECKPOINT_FILE,
    has_database,
    keep_address,
    make_folder,
    open_store,
    own_keys,
    publish_key,
)
from safegen.ledger.parts import SealedText, parse_timestamp, timestamp
from safegen.ledger.reader import LedgerReader, build_receipt
from safegen.ledger.record import Pruned, Record, Recovered, canonical_bytes
from safegen.ledger.retention import first_not_older, remove_bodies
from safegen.ledger.sealing import PromptKeys, SealedField

if TYPE_CHECKING:
    from safegen.ledger.keys import LedgerKeys
    from safegen.ledger.receipt import Receipt
    from safegen.ledger.store import Store
    from safegen.ledger.transaction import Entry, Reader, Writer

DEFAULT_GRACE = timedelta(minutes=15)
Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """The present moment."""
    return datetime.now(UTC)


class Ledger(LedgerReader):
    """A ledger to write. Use `Ledger.open`; threads may share it, processes each open their own."""

    def __init__(self, store: Store, folder: Path, keys: LedgerKeys, clock: Clock) -> None:
        super().__init__(store, folder)
        self._keys = keys
        self._clock = clock
        self._commit = GroupCommit(store)

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        keys: LedgerKeys | None = None,
        clock: Clock = utc_now,
        create: bool = True,
        database: str | None = None,
    ) -> Ledger:
        """Open the ledger in a folder, by default creating it and its keys on first use.

        Args:
            folder: holds ledger.db, keys.json (owner only), ledger.pub and checkpoint.
            keys: the secrets, if they are kept elsewhere; keys.json is then neither read nor written.
            clock: gives the present moment, with its time zone.
            create: whether a missing ledger is made.
            database: address of a PostgreSQL database, as postgresql://host/name, for a new ledger that is to live
                there; afterwards the folder knows it. Passwords belong into ~/.pgpass.

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
        ledger = cls(open_store(folder, create=create), folder, keys, clock)
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
        prepared = [(record, canonical_bytes(record)) for record in records]
        entries = self._commit.submit(prepared)
        for entry, (record, _) in zip(entries, prepared, strict=True):
            emit(entry.index, entry.leaf_hash, record)
        return entries

    def checkpoint(self) -> Checkpoint:
        """Sign the head of the tree over all durable entries, keep it, and publish it as the file `checkpoint`.

        Raises:
            LedgerTamperedError: if the entries contradict an earlier checkpoint; nothing is signed then.
            LedgerWriteError: if it cannot be kept.
        """
        with self._store.writing() as writer:
            size, last = writer.size(), self._last_checkpoint(writer)
            if last is not None:
                _check_extends(writer, size, last)
            signed = last if last is not None and last.size == size else self._keys.sign(size, writer.root(size))
            self._keep(writer, signed)
        return signed

    def receipt(self, index: int) -> Receipt:
        """Proof that entry `index` is in the ledger; signs a new checkpoint only if no earlier one covers it.

        Raises:
            LedgerError: if there is no such entry.
        """
        with self._store.reading() as reader:
            last = self._last_checkpoint(reader)
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
            entries = append_now(writer, [(end, canonical_bytes(end)) for end in ends])
        for entry, end in zip(entries, ends, strict=True):
            emit(entry.index, entry.leaf_hash, end)
        return entries

    def prune(self, before: datetime, *, reason: str) -> int:
        """Remove the bodies of ended requests from before a moment; gives how many went. Hashes and proofs stay.

        The ledger gets a `pruned` record that says so, and a checkpoint over it.

        Raises:
            LedgerError: if the database is not SQLite.
            LedgerWriteError: if it cannot be made durable.
        """
        signed = self.checkpoint().size
        with self._store.writing() as writer:
            stop = first_not_older(writer, timestamp(before), signed)
            record = Pruned(time=self.now(), stop=stop, reason=reason)
            (entry,) = append_now(writer, [(record, canonical_bytes(record))])
            count = remove_bodies(writer, record, entry.index)
        self._store.scrub()
        emit(entry.index, entry.leaf_hash, record)
        self.checkpoint()
        return count

    def _first_checkpoint(self) -> None:
        """Sign the empty tree of a new ledger, and hold an old one against its last checkpoint."""
        with self._store.reading() as reader:
            last = self._last_checkpoint(reader)
            if last is not None:
                _check_extends(reader, reader.size(), last)
        if last is None:
            self.checkpoint()

    def _last_checkpoint(self, reader: Reader) -> Checkpoint | None:
        """The largest checkpoint known, whether the database has it or only the published file."""
        published = self._folder / CHECKPOINT_FILE
        try:
            texts = [published.read_text(encoding="utf-8")] if published.exists() else []
        except (OSError, ValueError) as error:
            raise LedgerError(f"cannot read the published checkpoint: {error}", where=str(published)) from error
        stored = reader.latest_checkpoint()
        if stored is not None:
            texts.append(stored)
        known = [verify_checkpoint(text, self._keys.verifier_key) for text in texts]
        return max(known, key=lambda checkpoint: checkpoint.size, default=None)

    def _keep(self, writer: Writer, signed: Checkpoint) -> None:
        """Store and publish while the write lock is held, so that the published size never falls."""
        if writer.latest_checkpoint() != signed.text:
            writer.add_checkpoint(signed.size, signed.text)
        published = self._folder / CHECKPOINT_FILE
        try:
            replace_whole(published, signed.text, mode=0o644)
        except OSError as error:
            raise LedgerWriteError(
                f"cannot publish the checkpoint: {error.strerror}",
                where=str(published),
                hint="free the disk or its mode",
            ) from error


def _check_extends(reader: Reader, size: int, last: Checkpoint) -> None:
    hint = "keep the files as evidence, run `safegen audit verify`, restore a copy"
    if last.size > size:
        raise LedgerTamperedError(f"the ledger has {size} entries, but {last.size} were signed", hint=hint)
    if reader.root(last.size) != last.root:
        raise LedgerTamperedError(f"the first {last.size} entries are not those that were signed", hint=hint)
