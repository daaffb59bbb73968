"""Time and size: how long until the concept is erased as the released loop erases it, and how large the file is.

The released loop is timed on a sample of its updates, both halves of guidance included as released, and extrapolated to
its 3,000; the picture count that it reaches is measured on a checkpoint if the work folder holds one
(`released/<concept>-3000.safetensors`). The solver is timed whole, reading its vocabulary included, on the same machine
in the same run, by processor seconds of one thread, and its membrane is drawn.
"""

from __future__ import annotations

import time

import torch
from baselines.released_spm import STEPS, ReleasedSpm, seconds_per_update
from reporting import Report

from erasure_parts.context import Context
from erasure_parts.recipes import recipe_of
from safegen.evaluation.method import Membranes, always
from safegen.spm import Attached
from safegen.training.trainer import Trainer

SAMPLE = 15


def run(context: Context) -> Report:
    """Time both."""
    torch.set_num_threads(1)
    report = Report("erasure-effort", extra=context.note("effort"))
    name = context.concepts(1)[0]
    recipe = recipe_of(context, name)
    began = time.process_time()
    spm = Trainer(context.base).solve(recipe).spm()
    ours = time.process_time() - began
    each = seconds_per_update(context.base, name, 1 if context.quick else SAMPLE)
    theirs = each * STEPS
    probes = context.vocabulary.probes(name, 3 if context.quick else context.pictures, context.seed)
    gone = context.lab.share(Membranes(context.base, always(Attached(spm, 1.0, name))), probes)
    rows = [("solver", ours, sum(gone) / len(gone), "measured whole")]
    path = context.work / "released" / f"{name}-{STEPS}.safetensors".replace(" ", "-")
    note = f"{each:.3f} s an update, extrapolated to {STEPS}; not drawn"
    reached = float("nan")
    if path.is_file():
        reached = sum(hits := context.lab.share(ReleasedSpm.load(context.base, [(path, name)]), probes)) / len(hits)
        note = f"{each:.3f} s an update, extrapolated to {STEPS}; a checkpoint of {STEPS} updates was drawn"
    rows.append(("released loop", theirs, reached, note))
    report.at_most(f"{name}: still recognised after the solver, membrane open", sum(gone) / len(gone), 0.03)
    report.at_least("times faster than the released loop", theirs / ours, 20.0, "times")
    report.tables.append((name, ("method", "processor seconds", "target recognised", "how"), rows))
    return report
