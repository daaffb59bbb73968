"""How large one SPM is: numbers, share of the denoiser's parameters, bytes on disk."""

from __future__ import annotations

from reporting import Report

from erasure_parts.context import Context


def run(context: Context) -> Report:
    """Count over the whole zoo."""
    report = Report("erasure-size", extra={"part": "size"})
    whole = sum(parameter.numel() for parameter in context.base.pipeline.unet.parameters())
    base = context.registry.base("sticker")
    rows = []
    for entry in context.zoo.values():
        spm = context.registry.load_adapter(entry.id, base=base)
        size = (context.registry.folder / entry.path).stat().st_size
        rows.append((entry.id, entry.rank, len(spm.layers), spm.parameters, 100 * spm.parameters / whole, size))
    single = [row for row in rows if row[1] == 1] or rows
    largest = max(single, key=lambda row: row[4])
    title = f"largest SPM at rank 1 of {len(single)}: part of the denoiser's parameters"
    report.at_most(title, largest[4], 0.5, "%")
    report.extra["bytes of the largest"] = largest[5]
    report.extra["parameters of the denoiser"] = whole
    columns = ("SPM", "rank", "layers", "parameters", "% of the denoiser", "bytes")
    kinds = {(row[1], row[2], row[3]): row for row in rows}
    report.tables.append(("one of each kind", columns, [tuple(row) for row in kinds.values()]))
    report.tables.append(("zoo", ("SPMs", "bytes in all"), [(len(rows), sum(row[5] for row in rows))]))
    return report
