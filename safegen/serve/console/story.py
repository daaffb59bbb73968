"""The story of one request, for its page: its records in order, or why there is none, and the time between them.

Invariants: read from the ledger itself and never from the index; a record is shown as what it is: whole, pruned, of a
newer version, or not readable, and in the last two cases with its bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from safegen.errors import LedgerError
from safegen.ledger import Closed, Drawn, Entry, Record, Recovered, Reviewed
from safegen.ledger.merkle import leaf_hash
from safegen.serve.console.index.build import is_newer

Condition = Literal["whole", "pruned", "newer version", "unreadable"]
_SHOWN_BYTES = 20_000


@dataclass(frozen=True)
class Chapter:
    """One entry of the ledger. `altered` means that the bytes do not have the hash that is stored with them."""

    entry: Entry
    condition: Condition
    record: Record | None = None
    problem: str = ""
    altered: bool = False
    after: float | None = None

    @property
    def leaf(self) -> str:
        """The stored leaf hash, in hex."""
        return self.entry.leaf_hash.hex()

    @property
    def raw(self) -> str:
        """The bytes as text, cut where they are very long."""
        return self.entry.body[:_SHOWN_BYTES].decode("utf-8", "backslashreplace")

    @property
    def pretty(self) -> str:
        """The record as indented JSON, or the raw text if it is none."""
        try:
            return json.dumps(json.loads(self.entry.body), indent=2, ensure_ascii=False)
        except (ValueError, RecursionError):
            return self.raw


@dataclass(frozen=True)
class Attempt:
    """What belongs to one attempt: its drawing, and the reviews of its images."""

    number: int
    drawn: Chapter | None
    reviews: tuple[Chapter, ...]


@dataclass(frozen=True)
class Story:
    """A request: its chapters, with those of an attempt together."""

    request_id: str
    chapters: tuple[Chapter, ...]
    before: tuple[Chapter, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    after: tuple[Chapter, ...] = ()

    @property
    def outcome(self) -> str:
        """How the request ended, as far as can be read."""
        for chapter in reversed(self.chapters):
            if isinstance(chapter.record, Closed):
                return chapter.record.outcome
            if isinstance(chapter.record, Recovered):
                return "recovered"
        return "open"


def read_chapter(entry: Entry, earlier: datetime | None = None) -> Chapter:
    """One entry as a chapter; `earlier` is the time of the record before it."""
    altered = bool(entry.body) and leaf_hash(entry.body) != entry.leaf_hash
    if not entry.body:
        return Chapter(entry, "pruned")
    try:
        record = entry.record
    except LedgerError as error:
        condition: Condition = "newer version" if is_newer(entry.body) else "unreadable"
        return Chapter(entry, condition, problem=error.message, altered=altered)
    after = None if earlier is None else (_moment(record) - earlier).total_seconds()
    return Chapter(entry, "whole", record, altered=altered, after=after)


def tell(request_id: str, entries: Iterable[Entry]) -> Story:
    """The story of a request's entries, in their order."""
    chapters: list[Chapter] = []
    earlier: datetime | None = None
    for entry in entries:
        chapter = read_chapter(entry, earlier)
        earlier = earlier if chapter.record is None else _moment(chapter.record)
        chapters.append(chapter)
    return _arranged(request_id, chapters)


def _arranged(request_id: str, chapters: Sequence[Chapter]) -> Story:
    places = [place for place, each in enumerate(chapters) if isinstance(each.record, Drawn | Reviewed)]
    if not places:
        return Story(request_id, tuple(chapters), tuple(chapters))
    start, stop = places[0], places[-1] + 1
    middle = chapters[start:stop]
    attempts = []
    for number in sorted({each.record.attempt for each in middle if isinstance(each.record, Drawn | Reviewed)}):
        drawn = next((one for one in middle if isinstance(one.record, Drawn) and one.record.attempt == number), None)
        reviews = [one for one in middle if isinstance(one.record, Reviewed) and one.record.attempt == number]
        attempts.append(Attempt(number, drawn, tuple(reviews)))
    told = {id(one) for attempt in attempts for one in (attempt.drawn, *attempt.reviews)}
    others = [one for one in middle if id(one) not in told]
    return Story(request_id, tuple(chapters), (*chapters[:start], *others), tuple(attempts), tuple(chapters[stop:]))


def _moment(record: Record) -> datetime:
    return datetime.fromisoformat(record.time)
