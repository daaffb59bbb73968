"""What a verification reads: a log in pages, wherever it is kept.

Invariants: a log is believed in nothing; entries come in the order of their place, and what a kind of log does not
carry is None, never made up.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from safegen.ledger.transaction import Reader

ENTRIES_LIMIT = 2**62
"""No honest ledger has an entry of this number."""

Row = tuple[int, str | None, str | None, bytes, bytes]
"""Index, request id, stage, body and leaf hash of an entry as stored; an export has neither id nor stage."""

Nodes = dict[tuple[int, int], bytes]
"""Stored subtree hashes by (last leaf, level)."""


@dataclass(frozen=True, slots=True)
class Page:
    """Some entries in order, and the tree nodes that are stored to end at them; None where a log has none."""

    rows: Sequence[Row]
    nodes: Nodes | None


class Log(Protocol):
    """A log to verify."""

    @property
    def cut(self) -> bool:
        """Whether it stops before its end."""
        ...

    def checkpoints(self) -> list[tuple[int, str]]:
        """Stored checkpoints as (size, text)."""
        ...

    def pages(self) -> Iterator[Page]:
        """All entries, in order."""
        ...


class StoredLog:
    """The log in a database, read in one transaction."""

    cut = False

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def checkpoints(self) -> list[tuple[int, str]]:
        """Stored checkpoints as (size, text), smallest first."""
        return self._reader.checkpoints()

    def pages(self) -> Iterator[Page]:
        """All entries with the tree nodes that end at them."""
        due = 0
        while rows := self._reader.plain_rows(due, ENTRIES_LIMIT):
            start, due = due, rows[-1][0] + 1
            yield Page(rows, self._reader.nodes(start, due))

    def strays(self, size: int) -> tuple[int, int]:
        """Number of entries and of tree nodes that cannot be part of a ledger of `size` entries."""
        return self._reader.strays(size)
