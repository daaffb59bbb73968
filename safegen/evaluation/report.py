"""One evaluation as a page and as Markdown: settings, cells with intervals, a plot, before and after pictures.

Invariant: both say the same numbers, which are those of the JSON file beside them.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safegen.evaluation.record import Cell, Evaluation, Rate

if TYPE_CHECKING:
    from jinja2 import Template
    from PIL.Image import Image


@dataclass(frozen=True)
class Pair:
    """The same prompt and seed, bare and erased."""

    prompt: str
    seed: int
    before: Image
    after: Image


@dataclass(frozen=True)
class Evaluated:
    """An evaluation and some of its pictures."""

    evaluation: Evaluation
    pairs: Sequence[Pair] = ()


def write_report(evaluated: Sequence[Evaluated], folder: Path) -> tuple[Path, Path, Path]:
    """Write `evaluation.json`, `evaluation.md` and `evaluation.html`; the pages hold their pictures themselves.

    Raises:
        ValueError: there is no evaluation to report.
    """
    if not evaluated:
        raise ValueError("there is no evaluation to report")
    folder.mkdir(parents=True, exist_ok=True)
    data, markdown, page = (folder / f"evaluation.{suffix}" for suffix in ("json", "md", "html"))
    records = [each.evaluation for each in evaluated]
    data.write_text("[" + ",\n".join(record.model_dump_json(indent=1) for record in records) + "]\n", encoding="utf-8")
    plot = plotted(records)
    (folder / "evaluation.png").write_bytes(plot)
    values = {"evaluated": evaluated, "plot": _encoded(plot), "percent": percent, "rate": rate, "number": number}
    markdown.write_text(_template("report.md.j2").render(**values), encoding="utf-8")
    page.write_text(_template("report.html.j2").render(**values, picture=_picture), encoding="utf-8")
    return data, markdown, page


def percent(value: float | None) -> str:
    """A share as people read it; a dash for what was not measured."""
    return "-" if value is None else f"{100 * value:.1f} %"


def rate(value: Rate | None) -> str:
    """A share with its interval."""
    return "-" if value is None else f"{percent(value.value)} ({100 * value.low:.0f}-{100 * value.high:.0f})"


def number(value: float | None, digits: int = 3) -> str:
    """A number, or a dash."""
    return "-" if value is None else f"{value:.{digits}f}"


def plotted(records: Sequence[Evaluation]) -> bytes:
    """Before and after of every cell, with intervals, as a PNG file."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    cells = [cell for record in records for cell in record.cells][:60]
    figure, axes = plt.subplots(figsize=(7, 0.9 + 0.24 * len(cells)), dpi=100)
    places = range(len(cells))[::-1]
    axes.scatter([cell.before.value for cell in cells], places, marker="|", s=90, color="0.6", label="bare")
    for place, cell in zip(places, cells, strict=True):
        colour = "tab:red" if cell.role == "target" else "tab:blue"
        axes.plot([cell.after.low, cell.after.high], [place, place], color=colour, alpha=0.5)
        axes.plot([cell.after.value], [place], "o", color=colour, markersize=4)
    axes.set_yticks(places, [_label(cell) for cell in cells], fontsize=7)
    axes.set(xlim=(-0.02, 1.02), xlabel="recognised, with 95 % interval (red: targets)")
    axes.legend(fontsize=7)
    figure.tight_layout()
    file = io.BytesIO()
    figure.savefig(file, format="png")
    plt.close(figure)
    return file.getvalue()


def _label(cell: Cell) -> str:
    return f"{cell.name} ({cell.role})"


def _picture(image: Image) -> str:
    file = io.BytesIO()
    image.save(file, format="PNG", optimize=True)
    return _encoded(file.getvalue())


def _encoded(data: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(data).decode("ascii")


@cache
def _template(name: str) -> Template:
    from jinja2 import Environment

    environment: Any = Environment(autoescape=name.endswith(".html.j2"), trim_blocks=True, lstrip_blocks=True)
    text = files("safegen.evaluation").joinpath("templates", name).read_text(encoding="utf-8")
    template: Template = environment.from_string(text)
    return template
