"""Pictures of an evaluation as a folder that other tools read: clean-fid, torch-fidelity, HUB's and one's own scripts.

`<folder>/bare/` and `<folder>/erased/` hold the same file names; `prompts.csv` says what each is. Invariant: every row
of the table has a picture in both folders.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from safegen.evaluation.gallery import Gallery
    from safegen.evaluation.method import Method
    from safegen.evaluation.protocols import Case

COLUMNS = ("file", "role", "name", "subject", "style", "prompt", "seed")


def export_pictures(gallery: Gallery, method: Method, cases: Sequence[Case], folder: Path) -> Path:
    """Write the pictures of all cases and the table; the table's path."""
    for side in ("bare", "erased"):
        (folder / side).mkdir(parents=True, exist_ok=True)
    table = folder / "prompts.csv"
    with table.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(COLUMNS)
        for number, case in enumerate(cases):
            prompts = [probe.prompted for probe in case.probes]
            pairs = zip(case.probes, gallery.bare(prompts), gallery.draw(method, prompts), strict=True)
            for place, (probe, bare, erased) in enumerate(pairs):
                name = f"{number:03}-{place:04}.png"
                bare.save(folder / "bare" / name)
                erased.save(folder / "erased" / name)
                rows.writerow((name, case.role, case.name, probe.subject, probe.style or "", probe.prompt, probe.seed))
    return table
