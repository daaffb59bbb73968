"""Text and tables that are safe to show, whatever a record holds.

Invariants: nothing reaches a terminal, a page or a spreadsheet as a command: control characters and characters that
turn the direction of text are shown as escapes, and cells that a spreadsheet would take for a formula are quoted.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime
from itertools import chain
from typing import Any

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What spreadsheets take for the beginning of a formula, full-width forms included (OWASP, CSV injection)."""


def plain(value: object, *, keep: str = "") -> str:
    """A value as text in which nothing can steer a terminal or turn the direction of the text around it."""
    text = "" if value is None else str(value)
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() or letter in keep else letter.encode("unicode_escape").decode()
        for letter in text
    )


def as_csv(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Rows as CSV; a text that a spreadsheet would take for a formula is preceded by an apostrophe."""
    return "".join(csv_lines(columns, rows))


def csv_lines(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    """The lines of `as_csv`, one at a time."""
    for row in chain([columns], rows):
        line = io.StringIO()
        csv.writer(line, lineterminator="\n").writerow([_cell(value) for value in row])
        yield line.getvalue()


def as_json(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Rows as a JSON array of objects."""
    return json.dumps([dict(zip(columns, row, strict=True)) for row in rows], indent=2, default=_for_json)


def _cell(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return plain("'" + value if value.startswith(_FORMULA) else value, keep="\n\t")


def _for_json(value: object) -> str:
    return value.isoformat() if isinstance(value, date | datetime) else str(value)
