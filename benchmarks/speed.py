"""How long things take here: import, one UNet step, and a guarded request against the bare pipeline in the same run."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import torch
import typer
from reporting import Report

from safegen.guard import Guard
from safegen.models import DrawRequest


def median(call: Callable[[], object], runs: int) -> float:
    """Median seconds of a call, after one that is not counted."""
    call()
    times = []
    for _ in range(runs):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def seconds_to_import(runs: int) -> float:
    """Median seconds that `import safegen` adds to a Python that is up."""
    code = "import time; t = time.perf_counter(); import safegen; print(time.perf_counter() - t)"
    outputs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout for _ in range(runs)
    ]
    return statistics.median(float(output) for output in outputs)


def main(
    quick: Annotated[bool, typer.Option(help="Fewer runs.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON last.")] = False,
) -> None:
    """Time, and compare guarded with bare in turns."""
    runs = 5 if quick else 15
    report = Report("speed")
    report.at_most("import safegen", seconds_to_import(runs), 0.2, "s")
    with tempfile.TemporaryDirectory() as folder, Guard.open("default", ledger=Path(folder) / "ledger") as guard:
        base, entry = guard.assembly.base, guard.assembly.entry
        unet = base.pipeline.unet  # type: ignore[attr-defined] # timing looks inside the sticker base
        latents = torch.randn(2, 4, 16, 16).contiguous(memory_format=torch.channels_last)
        states = base.encode(["a dog", "a cat"])  # type: ignore[attr-defined]
        with torch.no_grad():
            report.at_most(
                "UNet step at batch 2", 1000 * median(lambda: unet(latents, 500, states), 4 * runs), 40, "ms"
            )
        request = DrawRequest(("a dog in the style of noto",), (1,), "", 64, 64, entry.steps, entry.guidance)
        ratios = []
        for prompt in ("a dog in the style of noto", "a cat in the style of noto"):
            guard.generate(prompt, seed=1)
            pairs = []
            for _ in range(runs):
                bare = median(lambda: base.draw(request), 1)
                started = time.perf_counter()
                result = guard.generate(prompt, seed=1)
                pairs.append((time.perf_counter() - started) / result.attempts / bare)
            ratios.append(statistics.median(pairs))
        report.at_most("guarded / bare, untouched prompt, with NudeNet and ledger", ratios[0], 1.5, "ratio")
        report.at_most("guarded / bare, erased prompt, an attempt, with both reviewers", ratios[1], 1.7, "ratio")
    report.finish(as_json=as_json, keep=not quick)


if __name__ == "__main__":
    typer.run(main)
