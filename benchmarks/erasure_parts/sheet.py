"""Pictures for the results: a grid of before and after, and a plot of shares with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image


def grid(rows: Sequence[Sequence[Image.Image]], path: Path) -> None:
    """Rows of pictures of one size, one under the other; a palette keeps the file small."""
    side = rows[0][0].width
    made = Image.new("RGB", (side * max(len(row) for row in rows), side * len(rows)), "white")
    for y, row in enumerate(rows):
        for x, picture in enumerate(row):
            made.paste(picture, (x * side, y * side))
    made.quantize(128).save(path, optimize=True)


def lines(
    path: Path, title: str, axis: str, series: dict[str, Sequence[tuple[float, float, float, float]]], *, log: bool
) -> None:
    """One line a series of (x, value, low, high), with its interval as a band."""
    plt = _pyplot()
    figure, axes = plt.subplots(figsize=(6, 3.4), dpi=110)
    for name, points in series.items():
        xs, values, lows, highs = zip(*points, strict=True)
        axes.plot(xs, values, marker="o", label=name)
        axes.fill_between(xs, lows, highs, alpha=0.2)
    if log:
        axes.set_xscale("log")
        ticks = sorted({point[0] for points in series.values() for point in points})
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set(title=title, xlabel=axis, ylabel="share", ylim=(-0.03, 1.03))
    axes.legend(fontsize=8)
    _save(figure, path)


def bars(path: Path, title: str, groups: dict[str, Sequence[float]], names: Sequence[str]) -> None:
    """Groups of bars: for each name one bar a group."""
    plt = _pyplot()
    figure, axes = plt.subplots(figsize=(7, 3.4), dpi=110)
    width = 0.8 / len(groups)
    for number, (group, values) in enumerate(groups.items()):
        axes.bar([place + number * width for place in range(len(names))], values, width, label=group)
    places = [place + 0.4 - width / 2 for place in range(len(names))]
    axes.set_xticks(places, names, rotation=20, ha="right", fontsize=8)
    axes.set(title=title, ylabel="share", ylim=(0, 1.03))
    axes.legend(fontsize=8)
    _save(figure, path)


def _pyplot() -> Any:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    return plt


def _save(figure: Any, path: Path) -> None:
    figure.tight_layout()
    figure.savefig(path)
    _pyplot().close(figure)
