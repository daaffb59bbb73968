"""Each style erased: is it still seen, and is the content of its pictures kept?"""

from __future__ import annotations

from reporting import Report

from erasure_parts.context import Context
from erasure_parts.sheet import grid
from safegen.evaluation.measure import measure
from safegen.evaluation.protocols import plan


def run(context: Context) -> Report:
    """Measure every style that has an adapter."""
    report = Report("erasure-styles", extra=context.note("styles"))
    styles = [style for style in context.vocabulary.styles if style in context.zoo][: 1 if context.quick else None]
    rows, seen, kept, shown = [], [], [], [[], []]  # type: ignore[var-annotated]
    for style in styles:
        method = context.gated([style])
        pictures = 4 if context.quick else context.pictures
        target, content, *_ = plan(context.vocabulary, [style], [], pictures=pictures, seed=context.seed)
        one, other = measure(context.lab, method, target), measure(context.lab, method, content)
        rows.append(
            (
                style,
                one.pictures,
                one.before.value,
                one.after.value,
                one.after.high,
                other.before.value,
                other.after.value,
                one.ssim,
            )
        )
        seen.append(one.after.value)
        kept.append(other.after.value / max(other.before.value, 1e-9))
        prompts = [probe.prompted for probe in target.probes[1:4]]
        shown[0] += context.lab.gallery.bare(prompts)
        shown[1] += context.lab.gallery.draw(method, prompts)
    report.at_most("style still recognised, mean", sum(seen) / len(seen), 0.05)
    report.at_most("style still recognised, worst", max(seen), 0.05)
    report.at_least("content kept, share of the base's", sum(kept) / len(kept), 0.97)
    columns = ("style", "pictures", "before", "after", "95 % up to", "content before", "content after", "SSIM")
    report.tables.append(("styles", columns, rows))
    grid(shown, context.picture("erasure-styles"))
    return report
