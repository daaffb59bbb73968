"""Exports of what the timeline shows: every item that the filter lets through, as CSV or JSON, newest first.

Invariants: written a line at a time, however many there are; no cell begins a formula; a time is as the record has it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from safegen.safe_text import csv_lines
from safegen.serve.console.index import Item

COLUMNS = (
    "request_id", "kind", "time", "ended", "outcome", "action", "rules", "policy", "base", "tenant", "market",
    "attempts", "permeability", "scores", "disagreements", "shadow", "marked", "first_entry", "last_entry",
)  # fmt: skip


def as_row(item: Item) -> dict[str, Any]:
    """An item under the names of `COLUMNS`."""
    return {
        "request_id": item.request_id,
        "kind": item.kind,
        "time": item.time,
        "ended": item.ended,
        "outcome": item.outcome,
        "action": item.action,
        "rules": item.rules,
        "policy": item.policy,
        "base": item.base,
        "tenant": item.tenant,
        "market": item.market,
        "attempts": item.attempts,
        "permeability": item.gammas,
        "scores": {
            name: {"score": peak.score, "threshold": peak.threshold, "found": peak.found}
            for name, peak in item.peaks.items()
        },
        "disagreements": item.disagreements,
        "shadow": item.shadow,
        "marked": item.flags,
        "first_entry": item.first,
        "last_entry": item.last,
    }


def csv_export(items: Iterable[Item]) -> Iterator[str]:
    """Lines of CSV; lists and tables within a cell are parted by semicolons."""
    return csv_lines(COLUMNS, ([_cell(value) for value in as_row(item).values()] for item in items))


def json_export(items: Iterable[Item]) -> Iterator[str]:
    """Pieces of a JSON array of objects."""
    before = "[\n"
    for item in items:
        yield before + json.dumps(as_row(item))
        before = ",\n"
    yield "[]\n" if before == "[\n" else "\n]\n"


def _cell(value: Any) -> Any:
    if isinstance(value, dict):
        return "; ".join(f"{name}={_number(each)}" for name, each in value.items())
    return "; ".join(value) if isinstance(value, list) else value


def _number(value: Any) -> str:
    return f"{value['score']:g} of {value['threshold']:g}" if isinstance(value, dict) else f"{value:g}"
