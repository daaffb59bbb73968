"""Answers over the index: pages of items, counts by kind, and counts of one kind against another.

Invariants: one `Search` sees one state of the index; work goes segment by segment, so memory does not grow with the
ledger; every count is exact.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from pyroaring import BitMap

from safegen.errors import ConsoleRequestError
from safegen.serve.console.index.database import SEGMENT, SEGMENT_BITS
from safegen.serve.console.index.filters import Filter
from safegen.serve.console.index.item import ITEM, Item
from safegen.serve.console.index.terms import SEARCHED

MOST_NAMES = 2_000
"""Names of a kind that are counted as filters; a kind of more is left to the search."""
MOST_TEXTS = 2_000
"""Texts, or requests, that a free text search may hit; more say that it is too short."""
_LAST = "\U0010ffff"


@dataclass(frozen=True, slots=True)
class ItemPage:
    """Some items, newest first, with the cursors of the pages beside; None where there is none."""

    rows: list[tuple[int, Item]]
    older: int | None
    newer: int | None


@dataclass(frozen=True, slots=True)
class _Group:
    """Terms and items of which an item must have one."""

    kind: str
    terms: tuple[int, ...]
    items: frozenset[int] = frozenset()


class Search:
    """Looks into one state of the index."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        state = dict(connection.execute("SELECT key, value FROM state"))
        self.indexed = int(state.get("indexed", "0"))
        self._items = int(state.get("items", "0"))
        self._segments = -(-self._items // SEGMENT)
        self._bases: dict[tuple[tuple[_Group, ...], int], BitMap] = {}

    def page(self, chosen: Filter, *, limit: int, before: int | None = None, after: int | None = None) -> ItemPage:
        """Up to `limit` items older than `before`, or newer than `after`, else the newest; newest first."""
        groups = self._groups(chosen)
        if after is not None:
            found = self._newer(groups, after, limit + 1)
            more = len(found) > limit
            shown = found[:limit][::-1]
            return ItemPage(self._load(shown), shown[-1] if shown else None, shown[0] if more and shown else None)
        found = self._older(groups, self._items if before is None else before, limit + 1)
        shown = found[:limit]
        more = len(found) > limit
        newest = before is None or not shown or not self._newer(groups, shown[0], 1)
        return ItemPage(self._load(shown), shown[-1] if more else None, None if newest else shown[0])

    def each(self, chosen: Filter) -> Iterator[Item]:
        """All items, newest first, a few hundred at a time."""
        groups, before = self._groups(chosen), self._items
        while found := self._older(groups, before, 500):
            yield from (item for _, item in self._load(found))
            before = found[-1]

    def total(self, chosen: Filter) -> int:
        """Number of items."""
        if chosen.is_empty:
            return self._items
        groups = self._groups(chosen)
        return sum(len(self._base(groups, segment)) for segment in range(self._segments))

    def counts(self, chosen: Filter, kinds: Sequence[str], *, facets: bool = False) -> dict[str, Counter[str]]:
        """For each kind, how many items bear each of its names.

        Args:
            chosen: which items count.
            kinds: the kinds to count.
            facets: count a kind as if nothing of it were chosen, so that its other names show what they would add; of a
                kind with more than `MOST_NAMES` names, only those that are chosen.
        """
        groups = self._groups(chosen)
        named = self._terms(kinds)
        if facets:
            many = {kind for kind, count in Counter(kind for kind, _ in named.values()).items() if count > MOST_NAMES}
            named = {term: each for term, each in named.items() if each[0] not in many or chosen.has(*each)}
        found: dict[str, Counter[str]] = {kind: Counter() for kind in kinds}
        for segment in range(self._segments):
            whole = self._base(groups, segment)
            own = {
                kind: self._base(tuple(group for group in groups if group.kind != kind), segment)
                for kind in (kinds if facets else ())
                if kind in chosen.chosen
            }
            for term, bits in self._postings(segment, named):
                kind, name = named[term]
                found[kind][name] += bits.intersection_cardinality(own.get(kind, whole))
        return found

    def cross(self, chosen: Filter, rows: str, columns: str) -> dict[str, Counter[str]]:
        """How many items bear each name of one kind together with each name of another."""
        groups = self._groups(chosen)
        lines, across = self._terms([rows]), self._terms([columns])
        found: dict[str, Counter[str]] = {}
        for segment in range(self._segments):
            whole = self._base(groups, segment)
            beside = list(self._postings(segment, across))
            for term, bits in self._postings(segment, lines):
                of_line = bits & whole
                if not of_line:
                    continue
                counter = found.setdefault(lines[term][1], Counter())
                for other, other_bits in beside:
                    counter[across[other][1]] += of_line.intersection_cardinality(other_bits)
        return found

    def names(self, kind: str) -> list[str]:
        """All names of a kind, in order."""
        rows = self._connection.execute("SELECT name FROM terms WHERE kind = ? ORDER BY name", (kind,))
        return [name for (name,) in rows]

    def _older(self, groups: tuple[_Group, ...], before: int, limit: int) -> list[int]:
        found: list[int] = []
        for segment in range(min(self._segments - 1, max(before - 1, 0) >> SEGMENT_BITS), -1, -1):
            bits, low = self._base(groups, segment), segment << SEGMENT_BITS
            if before < low + SEGMENT:
                bits = bits & BitMap(range(max(before - low, 0)))
            count = len(bits)
            wanted = bits[max(0, count - (limit - len(found))) : count] if count else BitMap()
            found += [low + place for place in reversed(wanted.to_array())]
            if len(found) >= limit:
                break
        return found

    def _newer(self, groups: tuple[_Group, ...], after: int, limit: int) -> list[int]:
        found: list[int] = []
        for segment in range((after + 1) >> SEGMENT_BITS, self._segments):
            bits, low = self._base(groups, segment), segment << SEGMENT_BITS
            if after >= low:
                bits = bits & BitMap(range(after + 1 - low, SEGMENT))
            found += [low + place for place in bits[: limit - len(found)].to_array()] if bits else []
            if len(found) >= limit:
                break
        return found

    def _load(self, numbers: Sequence[int]) -> list[tuple[int, Item]]:
        marks = ",".join("?" * len(numbers))
        rows = self._connection.execute(f"SELECT item, body FROM items WHERE item IN ({marks})", numbers)  # noqa: S608
        found = {number: ITEM.validate_json(body) for number, body in rows}
        return [(number, found[number]) for number in numbers]

    def _base(self, groups: tuple[_Group, ...], segment: int) -> BitMap:
        """The items of a segment that all groups let through; not to be changed."""
        known = self._bases.get((groups, segment))
        if known is not None:
            return known
        bits = BitMap(range(min(SEGMENT, self._items - (segment << SEGMENT_BITS))))
        for group in groups:
            union = BitMap(number % SEGMENT for number in group.items if number >> SEGMENT_BITS == segment)
            for _, posting in self._postings(segment, group.terms):
                union |= posting
            bits &= union
        self._bases[groups, segment] = bits
        return bits

    def _postings(self, segment: int, terms: Iterable[int]) -> Iterator[tuple[int, BitMap]]:
        statement = "SELECT bits FROM postings WHERE term = ? AND segment = ?"
        for term in terms:
            row = self._connection.execute(statement, (term, segment)).fetchone()
            if row is not None:
                yield term, BitMap.deserialize(row[0])

    def _terms(self, kinds: Iterable[str]) -> dict[int, tuple[str, str]]:
        return {
            term: (kind, name)
            for kind in kinds
            for term, name in self._connection.execute("SELECT term, name FROM terms WHERE kind = ?", (kind,))
        }

    def _groups(self, chosen: Filter) -> tuple[_Group, ...]:
        groups = [
            _Group(kind, tuple(term for name in names for term in self._term(kind, name)))
            for kind, names in chosen.chosen.items()
        ]
        if chosen.start or chosen.stop:
            days = self._connection.execute(
                "SELECT term FROM terms WHERE kind = 'day' AND name BETWEEN ? AND ?",
                (chosen.start, chosen.stop or _LAST),
            )
            groups.append(_Group("range", tuple(term for (term,) in days)))
        if chosen.text:
            groups.append(self._holding(chosen.text))
        return tuple(groups)

    def _term(self, kind: str, name: str) -> list[int]:
        rows = self._connection.execute("SELECT term FROM terms WHERE kind = ? AND name = ?", (kind, name))
        return [term for (term,) in rows]

    def _holding(self, text: str) -> _Group:
        """Items with a term that holds the text, or whose request id begins with it."""
        marks = ",".join("?" * len(SEARCHED))
        terms = self._connection.execute(
            f"SELECT term FROM terms WHERE kind IN ({marks}) AND instr(folded, ?) LIMIT ?",  # noqa: S608
            (*SEARCHED, text.casefold(), MOST_TEXTS + 1),
        ).fetchall()
        items = self._connection.execute(
            "SELECT item FROM items WHERE request_id >= ? AND request_id < ? LIMIT ?",
            (text, text + _LAST, MOST_TEXTS + 1),
        ).fetchall()
        if max(len(terms), len(items)) > MOST_TEXTS:
            raise ConsoleRequestError(
                f"more than {MOST_TEXTS} different texts hold {text!r}", hint="search for a longer text"
            )
        return _Group("text", tuple(term for (term,) in terms), frozenset(item for (item,) in items))
