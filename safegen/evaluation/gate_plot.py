"""Draws a calibration: the curve, and how similar the concept's prompts and ordinary ones were to the concept.

Invariant: everything that is drawn stands in the calibration itself; no model is needed.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from safegen.errors import TrainingError
from safegen.spm.calibration import BINS, Calibration, curve_value

if TYPE_CHECKING:
    from collections.abc import Sequence

_POINTS = 501
_BLOCKS = " ▁▂▃▄▅▆▇█"
_TARGET, _BENIGN = "#c62828", "#1565c0"


def write_plot(calibration: Calibration, title: str, path: Path) -> None:
    """Write the curve over both histograms, as PNG or SVG by the file's name.

    Raises:
        TrainingError: matplotlib is not installed, or it cannot write that kind of file.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise TrainingError("drawing needs matplotlib", hint="pip install 'safegen[train]'") from error
    figure = Figure(figsize=(7, 4), layout="constrained")
    shares = figure.subplots()
    edges = np.linspace(0, 1, BINS + 1)
    for sample, name, colour in (
        (calibration.benign, "ordinary prompts", _BENIGN),
        (calibration.target, "the concept's, by meaning alone", _TARGET),
    ):
        heights = _shares(sample.histogram)
        label = f"{sample.prompts} {name}"
        shares.bar(edges[:-1], heights, width=1 / BINS, align="edge", color=colour, alpha=0.45, label=label)
    shares.set(xlabel="similarity", ylabel="share of the prompts", xlim=(0, 1.01), ylim=(0, 1.05))
    curve = shares.twinx()
    places = np.linspace(0, 1, _POINTS)
    curve.plot(places, curve_value(places, calibration.curve), color="black", label="permeability")
    curve.axvline(calibration.cutoff, color="black", linestyle=":", label=f"cut-off {calibration.cutoff:.2f}")
    curve.set(ylabel="permeability", ylim=(0, 1.05))
    handles = [*shares.get_legend_handles_labels()[0], *curve.get_legend_handles_labels()[0]]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, fontsize="small", frameon=False)
    shares.set_title(title.replace("$", r"\$"), fontsize="medium")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=110)
    except (OSError, ValueError) as error:
        raise TrainingError(f"the drawing cannot be written: {error}", where=str(path)) from error


def text_histogram(calibration: Calibration) -> list[str]:
    """The same for a terminal: two lines of blocks over similarities 0..1, and a mark at the cut-off."""
    mark = min(int(calibration.cutoff * BINS), BINS - 1)
    return [
        f"{_blocks(calibration.benign.histogram)}  ordinary prompts",
        f"{_blocks(calibration.target.histogram)}  the concept's",
        f"{' ' * mark}^{' ' * (BINS - mark - 1)}  cut-off",
    ]


def _shares(histogram: Sequence[int]) -> list[float]:
    total = max(1, sum(histogram))
    return [count / total for count in histogram]


def _blocks(histogram: Sequence[int]) -> str:
    """Heights by the square root, so that a single prompt is seen beside a thousand."""
    highest = max(1, *histogram)
    return "".join(_BLOCKS[int(np.ceil((len(_BLOCKS) - 1) * (count / highest) ** 0.5))] for count in histogram)
