"""1, 3, 10, 40 and 100 concepts erased at once: what is still recognised of them, and of everything else.

Other prompts for which no gate opens are the base's bit for bit (`benign` compares some) and are not drawn.
"""

from __future__ import annotations

from reporting import Report

from erasure_parts.context import Context
from erasure_parts.sheet import lines
from safegen.evaluation.intervals import wilson

SIZES = (1, 3, 10, 40, 100)
BARRED = (10, 40, 100)
OTHERS = 400


def run(context: Context) -> Report:
    """Measure; the smaller sets are parts of the larger ones."""
    report = Report("erasure-many", extra=context.note("many"))
    sizes = (1, 3) if context.quick else SIZES
    names = context.concepts(max(sizes))
    rows: list[tuple[object, ...]] = []
    series: dict[str, list[tuple[float, float, float, float]]] = {"erased, still recognised": [], "others, kept": []}
    for size in (size for size in sizes if size <= len(names)):
        method = context.gated(names[:size])
        each = 2 if context.quick else max(2, -(-2 * context.pictures // size))
        targets = [probe for name in names[:size] for probe in context.vocabulary.probes(name, each, context.seed)]
        others = context.vocabulary.captions(40 if context.quick else OTHERS, context.seed, without=names[:size])
        gone = context.lab.share(method, targets)
        states = method.states([probe.prompt for probe in others])
        touched = [probe for probe, state in zip(others, states, strict=True) if state]
        bare = context.lab.gallery.bare([probe.prompted for probe in touched])
        before = sum(context.lab.recognised(bare, touched)) if touched else 0
        after = sum(context.lab.share(method, touched)) if touched else 0
        lost = max(0, before - after)
        share = sum(gone) / len(gone)
        high = wilson(sum(gone), len(gone))[1]
        rows.append((size, len(gone), share, high, len(others), len(touched), before, after, lost / len(others)))
        for title, hits, trials in (
            ("erased, still recognised", sum(gone), len(gone)),
            ("others, kept", len(others) - lost, len(others)),
        ):
            series[title].append((size, hits / trials, *wilson(hits, trials)))
        if size in BARRED or context.quick:
            report.at_most(f"{size} at once: mean target recognised", share, 0.05)
            report.at_most(f"{size} at once: drop of all others", lost / len(others), 0.02)
    columns = (
        "SPMs",
        "pictures",
        "target recognised",
        "95 % up to",
        "other prompts",
        "of them a gate opened for",
        "those recognised bare",
        "recognised erased",
        "drop of all others",
    )
    report.tables.append(("at once", columns, rows))
    lines(context.picture("erasure-many"), "Concepts erased at once", "SPMs installed", series, log=True)
    return report
