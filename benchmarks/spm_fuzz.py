"""10,000 mutated SPM files: none crashes, hangs, or attaches in part; every refusal names file and remedy.

Mutations of bytes, of the header and of tensors (spm_mutations.py), seeded by their number, of a shipped adapter, each
read with and without its digest, imported, and attached to the shipped base. Files run in processes of their own, so
that a crash of the interpreter is seen and not suffered.

    python benchmarks/spm_fuzz.py [--quick] [--only START:END] [--json]
"""

from __future__ import annotations

import argparse
import multiprocessing
import signal
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from types import FrameType

from reporting import Report
from spm_mutations import MUTATIONS, mutate
from spm_outcome import State, verdict

from safegen.data import file_digest

COUNT, QUICK, BATCH = 10_000, 400, 1_000
HANG_S = 10
"""Seconds after which a file hangs the reader; one takes some milliseconds."""

Row = tuple[int, str, str, str, float]
"""Number, mutation, outcome, detail, seconds."""


class HungError(Exception):
    """A file took too long."""


def _hung(_number: int, _frame: FrameType | None) -> None:
    raise HungError


def run(start: int, end: int) -> list[Row]:
    """The outcomes of the files start..end-1, on a base loaded for them."""
    import torch

    from safegen.models import load_base
    from safegen.spm import Registry

    torch.set_num_threads(1)
    registry = Registry.open()
    entry = registry.base("sticker")
    base = load_base(registry.folder / entry.path, digest=entry.digest)
    good = registry.folder / registry.index.adapters[0].path
    content, digest = good.read_bytes(), file_digest(good)
    state = State(base.targets())
    rows: list[Row] = []
    signal.signal(signal.SIGALRM, _hung)
    with tempfile.TemporaryDirectory() as folder:
        for number in range(start, end):
            name, mutated = mutate(content, number)
            if mutated == content:
                continue
            began = time.perf_counter()
            signal.alarm(HANG_S)
            try:
                outcome, detail = verdict(Path(folder) / "mutated.safetensors", mutated, digest, state)
            except HungError:
                outcome, detail = "hung", f"over {HANG_S} s"
            except BaseException as error:  # noqa: BLE001 - whatever it is, it is the finding
                outcome, detail = "fault", f"{type(error).__name__}: {error}"
            signal.alarm(0)
            rows.append((number, name, outcome, detail, time.perf_counter() - began))
    if damaged := state.damaged():
        rows.append((end, "all", "fault", f"the weights of {damaged[0]} were altered", 0.0))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} files")
    parser.add_argument("--only", default="", metavar="START:END", help="these numbers")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    start, end = map(int, options.only.split(":")) if options.only else (0, QUICK if options.quick else COUNT)

    rows: list[Row] = []
    crashes = 0
    for at in range(start, end, BATCH):
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            try:
                rows += pool.submit(run, at, min(end, at + BATCH)).result()
            except BrokenProcessPool:
                crashes += 1
        print(f"{len(rows)} of {end - start} files", file=sys.stderr)

    report = Report("spm_fuzz")
    outcomes = Counter((name, outcome) for _, name, outcome, _, _ in rows)
    report.tables.append(
        (
            "outcomes",
            ("mutation", "refused", "attached whole", "fault", "hung"),
            [
                (name, *(outcomes[name, outcome] for outcome in ("refused", "attached", "fault", "hung")))
                for name in (mutation.__name__ for mutation in MUTATIONS)
            ],
        )
    )
    codes = Counter(detail for _, _, outcome, detail, _ in rows if outcome == "refused")
    report.tables.append(("refusals", ("code", "files"), [list(row) for row in codes.most_common()]))
    faults = [row for row in rows if row[2] in {"fault", "hung"}]
    if faults:
        report.tables.append(("faults", ("number", "mutation", "outcome", "detail"), [row[:4] for row in faults[:20]]))
    whole = not (options.quick or options.only)
    report.at_least("mutated files", len(rows), COUNT * 0.98 if whole else 0.98 * (end - start), "files")
    report.at_most("crashes of the process", crashes, 0, "batches")
    report.at_most("wrong exceptions, partial attachments, refusals without file or remedy", len(faults), 0, "files")
    report.at_most("files that hang", sum(row[2] == "hung" for row in rows), 0, "files")
    report.at_most("slowest file", max(row[4] for row in rows), HANG_S, "s")
    report.finish(as_json=options.json, keep=whole)


if __name__ == "__main__":
    main()
