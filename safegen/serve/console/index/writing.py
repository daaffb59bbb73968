"""One write transaction of the index: items and bitmaps as they change, written at its end.

Invariants: an item's bits are exactly those of its terms, also when a term is lost (an open request that is closed);
memory holds what one batch touches and no more.
"""

from __future__ import annotations

import sqlite3

from pyroaring import BitMap

from safegen.serve.console.index.database import SEGMENT, SEGMENT_BITS
from safegen.serve.console.index.item import ITEM, Item
from safegen.serve.console.index.terms import Term, terms_of


class Writing:
    """The index within a write transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._state: dict[str, str] = dict(connection.execute("SELECT key, value FROM state"))
        self._count = int(self._state.get("items", "0"))
        self._touched: dict[int, tuple[Item, frozenset[Term]]] = {}
        self._numbers: dict[str, int] = {}
        self._terms: dict[Term, int] = {}
        self._bits: dict[tuple[int, int], BitMap] = {}

    @property
    def indexed(self) -> int:
        """Entries indexed so far."""
        return int(self._state.get("indexed", "0"))

    @property
    def root(self) -> str:
        """Root over the entries indexed so far, in hex."""
        return self._state.get("root", "")

    @property
    def begun(self) -> int:
        """Size of the ledger when this index was begun."""
        return int(self._state.get("begun", "0"))

    def begin(self, size: int) -> None:
        """Note the size of the ledger that is being indexed from its start."""
        self._state["begun"] = str(size)

    def add(self, item: Item) -> None:
        """A new item, at the end of the timeline."""
        self._touched[self._count] = item, frozenset()
        if item.request_id:
            self._numbers[item.request_id] = self._count
        self._count += 1

    def item(self, request_id: str, index: int) -> Item:
        """The item of a request, begun now by entry `index` if there is none."""
        number = self._numbers.get(request_id)
        if number is None:
            number = self._stored(request_id)
        if number is None:
            self.add(Item(first=index, request_id=request_id))
            number = self._count - 1
        return self._touched[number][0]

    def finish(self, indexed: int, root: str) -> None:
        """Write everything that changed, and how far the index has come."""
        self._connection.executemany(
            "INSERT INTO items(item, request_id, body) VALUES (?, ?, ?) "
            "ON CONFLICT(item) DO UPDATE SET body = excluded.body",
            (
                (number, item.request_id or None, ITEM.dump_json(item, exclude_defaults=True))
                for number, (item, _) in self._touched.items()
            ),
        )
        for number, (item, old) in self._touched.items():
            new = frozenset(terms_of(item))
            for term in new - old:
                self._bitmap(term, number >> SEGMENT_BITS).add(number % SEGMENT)
            for term in old - new:
                self._bitmap(term, number >> SEGMENT_BITS).discard(number % SEGMENT)
        self._connection.executemany(
            "INSERT OR REPLACE INTO postings(term, segment, bits) VALUES (?, ?, ?)",
            ((term, segment, bits.serialize()) for (term, segment), bits in self._bits.items()),
        )
        self._state |= {"indexed": str(indexed), "root": root, "items": str(self._count)}
        self._connection.executemany("INSERT OR REPLACE INTO state VALUES (?, ?)", self._state.items())

    def _stored(self, request_id: str) -> int | None:
        row = self._connection.execute("SELECT item, body FROM items WHERE request_id = ?", (request_id,)).fetchone()
        if row is None:
            return None
        number, body = row
        item = ITEM.validate_json(body)
        self._touched[number] = item, frozenset(terms_of(item))
        self._numbers[request_id] = number
        return int(number)

    def _bitmap(self, term: Term, segment: int) -> BitMap:
        key = self._term(term), segment
        found = self._bits.get(key)
        if found is None:
            row = self._connection.execute("SELECT bits FROM postings WHERE term = ? AND segment = ?", key).fetchone()
            found = self._bits[key] = BitMap() if row is None else BitMap.deserialize(row[0])
        return found

    def _term(self, term: Term) -> int:
        number = self._terms.get(term)
        if number is None:
            self._connection.execute(
                "INSERT OR IGNORE INTO terms(kind, name, folded) VALUES (?, ?, ?)", (*term, term[1].casefold())
            )
            row = self._connection.execute("SELECT term FROM terms WHERE kind = ? AND name = ?", term).fetchone()
            number = self._terms[term] = int(row[0])
        return number
