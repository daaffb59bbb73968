"""Plots as geometry: bars, ticks and lines that a template draws as SVG, each bar with the records behind it.

Invariants: pure; every bar carries the query string of exactly the records that it counts, and stands in the plot's
table as well, for whoever reads rather than looks. Heights are logarithmic where a few large bars would hide the rest,
and the plot says so.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from safegen.serve.console.index import Filter
from safegen.serve.console.index.terms import GAMMA_BINS, GAMMA_STEP, SCORE_BINS, SECONDS, split_bin

OUTCOMES = ("released", "withheld", "refused", "error", "interrupted", "recovered", "open")
_WIDTH, _HEIGHT = 720, 180
_LEFT, _BOTTOM, _TOP = 46, 22, 10
_MOST_COLUMNS = 60
_SMALL_WIDTH, _SMALL_HEIGHT = 340, 150


@dataclass(frozen=True)
class Bar:
    """A rectangle; its link is a query string for the timeline."""

    x: float
    y: float
    width: float
    height: float
    style: str


@dataclass(frozen=True)
class Column:
    """What one link covers: its bars, what it says, and the area that can be clicked."""

    label: str
    link: str
    count: int
    bars: tuple[Bar, ...]
    area: Bar


@dataclass(frozen=True)
class Plot:
    """A plot with its axes; `marks` are (x, label) of vertical lines, `legend` the outcomes shown."""

    title: str
    says: str
    width: int
    height: int
    columns: tuple[Column, ...]
    floor: float
    left: float
    ticks_x: tuple[tuple[float, str, str], ...]
    ticks_y: tuple[tuple[float, str], ...]
    marks: tuple[tuple[float, str], ...] = ()
    legend: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Frame:
    """The inside of a plot, in which `top` is the height of the largest bar."""

    width: int
    height: int
    most: int
    logarithmic: bool

    def high(self, count: float) -> float:
        """Height of a bar in pixels."""
        inside = self.height - _BOTTOM - _TOP
        if not self.most:
            return 0.0
        if self.logarithmic:
            return inside * math.log1p(count) / math.log1p(self.most)
        return inside * count / self.most

    @property
    def floor(self) -> float:
        """Where bars stand."""
        return float(self.height - _BOTTOM)

    def ticks(self) -> tuple[tuple[float, str], ...]:
        """Heights to name: none, half and all, or powers of ten."""
        if self.logarithmic:
            values = [0, *(10**power for power in range(len(str(max(self.most, 1)))))]
        else:
            values = sorted({0, self.most // 2, self.most})
        return tuple((self.floor - self.high(value), f"{value:,}") for value in values)


def volume(chosen: Filter, counts: Mapping[str, Counter[str]]) -> Plot | None:
    """Requests by day (or by several days, if there are many), stacked by outcome."""
    days = sorted(date.fromisoformat(day) for day, each in counts.items() if each.total())
    if not days:
        return None
    step = -(-((days[-1] - days[0]).days + 1) // _MOST_COLUMNS)
    spans = [days[0] + timedelta(days=step * place) for place in range(((days[-1] - days[0]).days) // step + 1)]
    sums: list[Counter[str]] = [Counter() for _ in spans]
    for day in days:
        sums[(day - days[0]).days // step].update(counts[day.isoformat()])
    frame = _Frame(_WIDTH, _HEIGHT, max(each.total() for each in sums), logarithmic=False)
    width = (_WIDTH - _LEFT) / len(spans)
    columns = []
    for place, (start, each) in enumerate(zip(spans, sums, strict=True)):
        stop = min(start + timedelta(days=step - 1), date.max)
        label = f"{start.isoformat()}" + ("" if step == 1 else f" to {stop.isoformat()}")
        parts = ", ".join(f"{each[name]:,} {name}" for name in OUTCOMES if each[name])
        x = _LEFT + place * width
        columns.append(
            Column(
                f"{label}: {parts or 'none'}",
                chosen.within(start.isoformat(), stop.isoformat()).query(),
                each.total(),
                tuple(_stack(frame, x + width * 0.08, width * 0.84, each)),
                Bar(x, _TOP, width, frame.floor - _TOP, "area"),
            )
        )
    named = sorted({0, len(spans) // 2, len(spans) - 1})
    ticks = tuple(
        (_LEFT + (place + 0.5) * width, spans[place].isoformat(), _anchor(place, len(spans))) for place in named
    )
    every = "day" if step == 1 else f"{step} days"
    return Plot(
        "Volume", f"Requests by {every}, by outcome.", _WIDTH, _HEIGHT, tuple(columns), frame.floor, _LEFT, ticks,
        frame.ticks(), legend=tuple(name for name in OUTCOMES if any(each[name] for each in sums)),
    )  # fmt: skip


def gamma_histograms(chosen: Filter, counts: Counter[str]) -> list[Plot]:
    """For each adapter, how far it was open at most in a request."""
    edges = ["closed", *(f"{GAMMA_STEP * place:.1f}" for place in range(GAMMA_BINS))]
    return [
        _histogram(chosen, "gamma", series, bins, edges, "Highest permeability of a request. Log scale.")
        for series, bins in _by_series(counts)
    ]


def score_histograms(chosen: Filter, counts: Counter[str], thresholds: Iterable[str]) -> list[Plot]:
    """For each reviewer and rule, the highest score of a request, with the thresholds in force as lines."""
    held: dict[str, set[float]] = {}
    for name in thresholds:
        value, series = split_bin(name)
        held.setdefault(series, set()).add(float(value))
    edges = [f"{place / SCORE_BINS:.2f}" for place in range(SCORE_BINS)]
    says = "Highest score of a request; the line is the threshold. Log scale."
    return [
        _histogram(chosen, "score", series, bins, edges, says, sorted(held.get(series, ())))
        for series, bins in _by_series(counts)
    ]


def seconds_histogram(chosen: Filter, counts: Counter[str]) -> Plot | None:
    """How long requests took."""
    bins = {int(name): count for name, count in counts.items() if count}
    if not bins:
        return None
    edges = [f"{bound:g} s" for bound in SECONDS]
    return _histogram(
        chosen, "seconds", "", bins, edges, "Seconds from requested to the end, by the writer's clock. Log scale.",
        title="Time taken",
    )  # fmt: skip


def _histogram(
    chosen: Filter,
    kind: str,
    series: str,
    bins: Mapping[int, int],
    edges: Sequence[str],
    says: str,
    marks: Sequence[float] = (),
    *,
    title: str = "",
) -> Plot:
    frame = _Frame(_SMALL_WIDTH, _SMALL_HEIGHT, max(bins.values(), default=0), logarithmic=True)
    inside = _SMALL_WIDTH - _LEFT
    width = inside / len(edges)
    columns = []
    for place, edge in enumerate(edges):
        count = bins.get(place, 0)
        if not count:
            continue
        name = f"{place:02d} {series}" if series else f"{place:02d}"
        until = f" to {edges[place + 1]}" if place + 1 < len(edges) else " or more"
        x, high = _LEFT + place * width, frame.high(count)
        columns.append(
            Column(
                f"{edge}{'' if edge == 'closed' else until}: {count:,}",
                chosen.only(kind, name).query(),
                count,
                (Bar(x + width * 0.1, frame.floor - high, width * 0.8, high, "plain"),),
                Bar(x, _TOP, width, frame.floor - _TOP, "area"),
            )
        )
    named = (0, len(edges) // 2, len(edges) - 1)
    return Plot(
        title or series, says, _SMALL_WIDTH, _SMALL_HEIGHT, tuple(columns), frame.floor, _LEFT,
        tuple((_LEFT + (place + 0.5) * width, edges[place], _anchor(place, len(edges))) for place in named),
        frame.ticks(), tuple((_LEFT + inside * value, f"threshold {value:g}") for value in marks if 0 <= value <= 1),
    )  # fmt: skip


def _by_series(counts: Counter[str]) -> list[tuple[str, dict[int, int]]]:
    found: dict[str, dict[int, int]] = {}
    for name, count in counts.items():
        number, series = split_bin(name)
        if count:
            found.setdefault(series, {})[int(number)] = count
    return sorted(found.items(), key=lambda pair: (-sum(pair[1].values()), pair[0]))


def _stack(frame: _Frame, x: float, width: float, counts: Counter[str]) -> Iterable[Bar]:
    top = frame.floor
    for name in OUTCOMES:
        high = frame.high(counts[name])
        if high:
            top -= high
            yield Bar(x, top, width, high, f"outcome-{name}")


def _anchor(place: int, count: int) -> str:
    if count == 1:
        return "middle"
    return "start" if place == 0 else "end" if place == count - 1 else "middle"
