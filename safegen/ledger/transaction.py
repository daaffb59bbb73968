"""What can be read and written within one transaction of the store.

Invariants: a `Writer` holds the only write lock of the database, so the size it reads is the index it appends at, and
the subtree hashes it reads are those of the very tree that it extends.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import Connection, LargeBinary, Select, String, bindparam, cast, exists, func, insert, or_, select

from safegen.errors import LedgerError, LedgerTamperedError
from safegen.ledger import merkle
from safegen.ledger.record import Record, parse_record
from safegen.ledger.source import ENTRIES_LIMIT, Row
from safegen.ledger.stages import TERMINAL_STAGES
from safegen.ledger.tables import checkpoints, entries, nodes

_T = TypeVar("_T")
_PAGE = 1000
_ENDING = entries.alias("ending")
_ROWS = select(
    entries.c.index,
    entries.c.request_id,
    entries.c.stage,
    cast(entries.c.body, LargeBinary),
    cast(entries.c.leaf_hash, LargeBinary),
)
"""All columns, as bytes even where a forger stored another type."""
_STAGES = select(entries.c.request_id, entries.c.stage)
_LAST = select(func.max(entries.c.index))
_LEAF = select(entries.c.leaf_hash).where(entries.c.index == bindparam("last"))
_NODE = select(nodes.c.hash).where(nodes.c.entry == bindparam("last"), nodes.c.level == bindparam("level"))
_LEAVES = select(entries.c.index, entries.c.leaf_hash).where(entries.c.index.in_(bindparam("places", expanding=True)))
_NODES = select(nodes.c.entry, nodes.c.level, nodes.c.hash).where(nodes.c.entry.in_(bindparam("ends", expanding=True)))
_LATEST = select(checkpoints.c.text).order_by(checkpoints.c.size.desc()).limit(1)
"""Statements made once, as making them costs more than running them."""


class Entry(NamedTuple):
    """One leaf of the ledger: its place, its hash and its canonical bytes, which are empty once it is pruned."""

    index: int  # type: ignore[assignment] # hides tuple.index, which means nothing here
    leaf_hash: bytes
    body: bytes

    @property
    def record(self) -> Record:
        """The record in the bytes. Raises `LedgerError` if there is none."""
        if not self.body:
            raise LedgerError(f"the record of entry {self.index} was pruned; its hash is kept")
        return parse_record(self.body)


class StoredRow(NamedTuple):
    """A row of the table of entries as it is on disk, believed in nothing; an export has no `stage`."""

    entry: Entry
    request_id: str | None
    stage: str | None


class Reader:
    """Reads one consistent state of the database."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def size(self) -> int:
        """Number of entries."""
        last = self._connection.execute(_LAST).scalar_one()
        return 0 if last is None else int(last) + 1

    def node(self, level: int, index: int) -> bytes:
        """Hash of the complete subtree at (level, index).

        Raises:
            LedgerTamperedError: if it is not stored.
        """
        last = ((index + 1) << level) - 1
        statement, place = (_LEAF, {"last": last}) if level == 0 else (_NODE, {"last": last, "level": level})
        found = self._connection.execute(statement, place).scalar_one_or_none()
        if found is None:
            raise LedgerTamperedError(
                f"the tree node at level {level}, index {index} is missing",
                hint="run `safegen audit verify` and restore the ledger from a copy",
            )
        return bytes(found)

    def inclusion_proof(self, index: int, size: int) -> list[bytes]:
        """Proof that entry `index` is in the tree of `size` entries, with two statements however large it is.

        Raises:
            LedgerTamperedError: if a tree node that it needs is not stored.
        """
        return self._gathered(lambda node: merkle.inclusion_proof(node, index, size))

    def consistency_proof(self, old_size: int, new_size: int) -> list[bytes]:
        """Proof that the tree of `new_size` entries extends that of `old_size`.

        Raises:
            LedgerTamperedError: if a tree node that it needs is not stored.
        """
        return self._gathered(lambda node: merkle.consistency_proof(node, old_size, new_size))

    def root(self, size: int | None = None) -> bytes:
        """Root over the first `size` entries, all by default."""
        entire = self.size() if size is None else size
        return self._gathered(lambda node: merkle.root(node, entire))

    def _gathered(self, compute: Callable[[merkle.NodeReader], _T]) -> _T:
        """Compute something of the tree, with its nodes read in two statements however many they are."""
        wanted: list[tuple[int, int]] = []

        def note(level: int, place: int) -> bytes:
            wanted.append((level, place))
            return merkle.EMPTY_ROOT

        compute(note)
        found = self._nodes_at(wanted)
        return compute(lambda level, place: found.get((level, place)) or self.node(level, place))

    def _nodes_at(self, wanted: Sequence[tuple[int, int]]) -> dict[tuple[int, int], bytes]:
        """Those of the subtree hashes at (level, index) that are stored."""
        places = [place for level, place in wanted if level == 0]
        ends = sorted({((place + 1) << level) - 1 for level, place in wanted if level})
        found: dict[tuple[int, int], bytes] = {}
        if places:
            leaves = self._connection.execute(_LEAVES, {"places": places})
            found.update({(0, place): bytes(value) for place, value in leaves})
        if ends:
            above = self._connection.execute(_NODES, {"ends": ends})
            found.update({(level, last >> level): bytes(value) for last, level, value in above})
        return found

    def plain_rows(self, start: int, stop: int) -> list[Row]:
        """As `rows`, as plain tuples, for long logs."""
        statement = _ROWS.where(entries.c.index >= start, entries.c.index < stop).order_by(entries.c.index)
        return [
            (index, request_id, stage, body or b"", leaf or b"")
            for index, request_id, stage, body, leaf in self._connection.execute(statement.limit(_PAGE)).all()
        ]

    def rows(self, start: int, stop: int) -> list[StoredRow]:
        """The rows numbered from `start` up to `stop`, in order, but no more than a page of them."""
        return self._rows(_ROWS.where(entries.c.index >= start, entries.c.index < stop).limit(_PAGE))

    def strays(self, size: int) -> tuple[int, int]:
        """Number of entries and of tree nodes that cannot be part of a ledger of `size` entries."""
        odd_entries = or_(entries.c.index < 0, entries.c.index >= ENTRIES_LIMIT)
        odd_nodes = or_(nodes.c.entry < 0, nodes.c.entry >= size)
        counts = (select(func.count()).select_from(entries).where(odd_entries), select(func.count()).where(odd_nodes))
        first, second = (int(self._connection.execute(count).scalar_one()) for count in counts)
        return first, second

    def find(self, request_id: str) -> list[StoredRow]:
        """The rows of one request, in order."""
        return self._rows(_ROWS.where(entries.c.request_id == request_id))

    def stages(self, request_ids: Collection[str]) -> dict[str, frozenset[str]]:
        """The stages that requests have reached; those that have none are left out."""
        found: dict[str, set[str]] = {}
        waiting = list(request_ids)
        for start in range(0, len(waiting), _PAGE):
            chosen = entries.c.request_id.in_(waiting[start : start + _PAGE])
            for name, stage in self._connection.execute(_STAGES.where(chosen)):
                found.setdefault(name, set()).add(stage)
        return {name: frozenset(stages) for name, stages in found.items()}

    def open_requests(self) -> list[StoredRow]:
        """The `requested` rows of the requests that nothing has ended, in order."""
        ended = exists().where(_ENDING.c.request_id == entries.c.request_id, _ENDING.c.stage.in_(TERMINAL_STAGES))
        return self._rows(_ROWS.where(entries.c.stage == "requested", ~ended))

    def recent_requests(self, limit: int) -> list[str]:
        """Ids of the latest requests, newest first."""
        statement = select(entries.c.request_id).where(entries.c.stage == "requested")
        return list(self._connection.execute(statement.order_by(entries.c.index.desc()).limit(limit)).scalars())

    def nodes(self, start: int, stop: int) -> dict[tuple[int, int], bytes]:
        """Stored subtrees whose last leaf is from `start` to `stop`, by (last leaf, level)."""
        columns = select(nodes.c.entry, nodes.c.level, cast(nodes.c.hash, LargeBinary))
        found = self._connection.execute(columns.where(nodes.c.entry >= start, nodes.c.entry < stop)).all()
        return {(entry, level): value for entry, level, value in found}

    def checkpoints(self) -> list[tuple[int, str]]:
        """All stored checkpoints as (size, text), smallest first."""
        columns = select(checkpoints.c.size, cast(checkpoints.c.text, String))
        found = self._connection.execute(columns.order_by(checkpoints.c.size))
        return [(size, text or "") for size, text in found]

    def latest_checkpoint(self) -> str | None:
        """Text of the largest stored checkpoint."""
        return self._connection.execute(_LATEST).scalar_one_or_none()

    def _rows(self, statement: Select[Any]) -> list[StoredRow]:
        return [_stored_row(*row) for row in self._connection.execute(statement.order_by(entries.c.index)).all()]


class Writer(Reader):
    """Appends within one transaction; nothing is durable before the transaction ends."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self._known: dict[tuple[int, int], bytes] = {}

    def node(self, level: int, index: int) -> bytes:
        """Hash of the complete subtree at (level, index), as stored or as added in this transaction.

        Raises:
            LedgerTamperedError: if it is neither.
        """
        return self._known.get((level, index)) or super().node(level, index)

    def _nodes_at(self, wanted: Sequence[tuple[int, int]]) -> dict[tuple[int, int], bytes]:
        found = super()._nodes_at([place for place in wanted if place not in self._known])
        self._known.update(found)
        return self._known

    def append_all(self, leaves: Sequence[tuple[str | None, str, bytes]]) -> list[Entry]:
        """Add entries (request id, stage, body) and the subtree hashes that they complete, with two statements."""
        first, rows, above, added = self.size(), [], [], []
        self.root(first)  # reads the right edge of the tree, which is all that growing it takes
        for index, (request_id, stage, body) in enumerate(leaves, first):
            leaf = merkle.leaf_hash(body)
            for completed in merkle.completed_nodes(self.node, index, leaf):
                self._known[completed.level, completed.index] = completed.hash
                if completed.level:
                    above.append({"entry": index, "level": completed.level, "hash": completed.hash})
            rows.append({"index": index, "request_id": request_id, "stage": stage, "body": body, "leaf_hash": leaf})
            added.append(Entry(index=index, leaf_hash=leaf, body=body))
        if rows:
            self._connection.execute(insert(entries), rows)
        if above:
            self._connection.execute(insert(nodes), above)
        return added

    @property
    def connection(self) -> Connection:
        """The connection that the transaction is on."""
        return self._connection

    def add_checkpoint(self, size: int, text: str) -> None:
        """Keep a signed checkpoint."""
        self._connection.execute(insert(checkpoints), {"size": size, "text": text})


def _stored_row(index: int, request_id: str | None, stage: str, body: bytes | None, leaf: bytes | None) -> StoredRow:
    return StoredRow(Entry(index, leaf or b"", body or b""), request_id, stage)
