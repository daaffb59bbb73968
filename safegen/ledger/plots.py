"""Plots of the auditor's report, as PNG in base64.

Invariants: names from records are drawn as plain text, never as formulas (a backslash is drawn as a slash); the same
rows give the same picture.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from safegen.errors import LedgerError

if TYPE_CHECKING:
    from safegen.ledger.analysis import Answer

_BINS = 20
_LONGEST_NAME = 40
_MOST_PANELS = 12
_COLOURS = {
    "released": "#2e7d32", "refused": "#6a1b9a", "withheld": "#c62828", "error": "#5d4037", "interrupted": "#8d6e63",
    "recovered": "#f9a825", "open": "#90a4ae",
}  # fmt: skip


def stacked_days(answer: Answer) -> str:
    """Rows (day, outcome, count) as stacked bars."""
    return _stacked(answer.rows, across=True)


def stacked_rules(answer: Answer) -> str:
    """Rows (rule, outcome, count) as stacked bars that lie."""
    return _stacked(answer.rows, across=False)


def histograms(answer: Answer) -> str:
    """Rows (name, value, threshold or None): one histogram for each name, with its thresholds as dashed lines."""
    groups: dict[str, list[float]] = {}
    thresholds: dict[str, set[float]] = {}
    for name, value, threshold in answer.rows:
        groups.setdefault(_name(name), []).append(value)
        if threshold is not None:
            thresholds.setdefault(_name(name), set()).add(threshold)
    chosen = sorted(groups, key=lambda name: -len(groups[name]))[:_MOST_PANELS]
    figure, axes = _panels(len(chosen))
    for axis, name in zip(axes, chosen, strict=True):
        values = groups[name]
        axis.hist(values, bins=_BINS, range=(min(0.0, *values, 0.0), max(1.0, *values, 1.0)), color="#37474f")
        axis.set_title(name, fontsize=9)
        axis.set_yscale("symlog")
        axis.yaxis.set_major_formatter("{x:g}")
        axis.tick_params(labelsize=8)
        for threshold in sorted(thresholds.get(name, ())):
            axis.axvline(threshold, color="#c62828", linestyle="--", linewidth=1)
    return _png(figure)


def _stacked(rows: Sequence[tuple[Any, ...]], *, across: bool) -> str:
    places = list(dict.fromkeys(_name(row[0]) for row in rows))
    figure, (axis,) = _panels(1)
    base = [0] * len(places)
    for outcome in dict.fromkeys(row[1] for row in rows):
        counts = [sum(row[2] for row in rows if (_name(row[0]), row[1]) == (place, outcome)) for place in places]
        options: dict[str, Any] = {"label": _name(outcome), "color": _COLOURS.get(outcome, "#455a64")}
        if across:
            axis.bar(places, counts, bottom=base, **options)
        else:
            axis.barh(places, counts, left=base, **options)
        base = [low + count for low, count in zip(base, counts, strict=True)]
    axis.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    axis.tick_params(labelsize=8)
    figure.autofmt_xdate()
    return _png(figure)


def _panels(count: int) -> tuple[Any, list[Any]]:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise LedgerError("the report needs matplotlib", hint="pip install 'safegen[audit]'") from error
    columns = min(count, 3)
    lines = -(-count // columns)
    figure = Figure(figsize=(9, 2.6 * lines if count > 1 else 3.2), dpi=110, layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False).flatten().tolist()
    for axis in axes[count:]:
        axis.set_axis_off()
    return figure, axes[:count]


def _png(figure: Any) -> str:
    file = io.BytesIO()
    figure.savefig(file, format="png", metadata={"Software": None})
    return base64.b64encode(file.getvalue()).decode()


def _name(value: object) -> str:
    text = "".join(letter if letter.isprintable() else "?" for letter in str(value))
    short = text if len(text) <= _LONGEST_NAME else text[: _LONGEST_NAME - 1] + "…"
    return short.replace("\\", "/").replace("$", r"\$")
