"""1, 3, 10, 40 and 100 concepts erased at once: what is still recognised of them, and of everything else.

Other prompts for which no gate opens are the base's bit for bit (`benign` compares some) and are not drawn. Beside the
membranes stands UCE, the strongest of the baselines and the one made for many concepts at once: one closed-form edit
with the same prompts, told to keep every concept that is not erased; it changes every picture, so all are drawn.
"""

from __future__ import annotations

from baselines.edited import EditedWeights
from baselines.uce import solve_uce
from reporting import Report

from erasure_parts.context import Context
from erasure_parts.recipes import pairs
from erasure_parts.sheet import lines
from safegen.evaluation.intervals import wilson
from safegen.evaluation.measures import similarities

SIZES = (1, 3, 10, 40, 100)
BARRED = (10, 40, 100)
OTHERS = 400


def run(context: Context) -> Report:
    """Measure; the smaller sets are parts of the larger ones."""
    report = Report("erasure-many", extra=context.note("many"))
    sizes = (1, 3) if context.quick else SIZES
    names = context.concepts(max(sizes))
    rows: list[tuple[object, ...]] = []
    ours: dict[int, tuple[float, float]] = {}
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
        ours[size] = share, lost / len(others)
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
    _beside_uce(context, report, names, ours)
    lines(context.picture("erasure-many"), "Concepts erased at once", "SPMs installed", series, log=True)
    return report


def _beside_uce(context: Context, report: Report, names: list[str], ours: dict[int, tuple[float, float]]) -> None:
    """One edit of the weights for all concepts of a size, judged on the same prompts."""
    rows = []
    for size in (size for size in ((3,) if context.quick else BARRED) if size in ours):
        method = _uce(context, names[:size])
        each = 2 if context.quick else max(2, -(-2 * context.pictures // size))
        targets = [probe for name in names[:size] for probe in context.vocabulary.probes(name, each, context.seed)]
        others = context.vocabulary.captions(10 if context.quick else OTHERS, context.seed, without=names[:size])
        gone = context.lab.share(method, targets)
        bare = context.lab.gallery.bare([probe.prompted for probe in others])
        made = context.lab.gallery.draw(method, [probe.prompted for probe in others])
        before, after = (sum(context.lab.recognised(pictures, others)) for pictures in (bare, made))
        share, drop = sum(gone) / len(gone), (before - after) / len(others)
        likeness = float(similarities(bare, made).mean())
        rows.append(
            (size, len(gone), share, wilson(sum(gone), len(gone))[1], len(others), before, after, drop, likeness)
        )
        report.at_most(f"{size} at once, ours less UCE: mean target recognised", ours[size][0] - share, 0.0)
        report.at_most(f"{size} at once, ours less UCE: drop of all others", ours[size][1] - drop, 0.0)
    columns = (
        "concepts",
        "pictures",
        "target recognised",
        "95 % up to",
        "other prompts",
        "recognised bare",
        "recognised erased",
        "drop of all others",
        "others' SSIM",
    )
    report.tables.append(("the same by UCE", columns, rows))


def _uce(context: Context, names: list[str]) -> EditedWeights:
    wanted = [pair for name in names for pair in pairs(context, name)]
    styles = context.vocabulary.styles
    others = [each.noun for each in context.vocabulary.concepts if each.name not in names]
    kept = others + [f"{noun} in the style of {styles[number % len(styles)]}" for number, noun in enumerate(others)]
    path = context.work / "baselines" / f"UCE-{len(names)}-{context.seed}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    return EditedWeights("UCE", context.base, solve_uce(context.base, wanted, kept, path))
