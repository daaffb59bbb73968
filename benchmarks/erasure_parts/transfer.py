"""Fine-tuned bases of the family, with SPMs of the original base: no retraining, its own text encoder at the gate."""

from __future__ import annotations

from reporting import Report

from erasure_parts.context import Context
from erasure_parts.sheet import grid
from safegen.evaluation.intervals import wilson

CONCEPTS, EACH = 12, 2
"""Many concepts and a few pictures of each: all of a base are one cell."""


def run(context: Context) -> Report:
    """Measure on every other base of the family."""
    report = Report("erasure-transfer", extra=context.note("transfer"))
    family = context.registry.base("sticker").family
    bases = [each.id for each in context.registry.index.bases if each.family == family and each.id != "sticker"]
    count, pictures = (1, 3) if context.quick else (CONCEPTS, EACH)
    rows, shown = [], []  # type: ignore[var-annotated]
    for name in bases[: 1 if context.quick else None]:
        base = context.load(name)
        lab = context.lab_of(base)
        gone, drawn = [], []
        for number, concept in enumerate(context.concepts(count)):
            styles = len(context.vocabulary.styles)
            first = pictures * number % styles
            probes = context.vocabulary.probes(concept, styles + pictures, context.seed)[first : first + pictures]
            method = context.gated([concept], base)
            before = lab.recognised(lab.gallery.bare([probe.prompted for probe in probes]), probes)
            after = lab.share(method, probes)
            rows.append((name, concept, len(probes), sum(before) / len(probes), sum(after) / len(probes)))
            gone += after
            drawn += before
            shown.append(
                [
                    *lab.gallery.bare([p.prompted for p in probes[:2]]),
                    *lab.gallery.draw(method, [p.prompted for p in probes[:2]]),
                ]
            )
        report.at_most(f"{name}: still recognised, mean", sum(gone) / len(gone), 0.08)
        report.extra[f"{name}: 95 % up to"] = wilson(sum(gone), len(gone))[1]
        report.extra[f"{name}: recognised without SPM"] = sum(drawn) / len(drawn)
    if not bases:
        report.at_most("fine-tuned bases: none is installed", 1.0, 0.08)
    report.tables.append(("fine-tuned bases", ("base", "concept", "pictures", "before", "after"), rows))
    if shown:
        grid(shown, context.picture("erasure-transfer"))
    return report
