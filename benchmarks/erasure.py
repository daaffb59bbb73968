"""Does erasing work, does everything else stay, and what does it cost? One part a row of the table.

Judged by the independent judge on the sticker base, beside the field's own methods. Every part keeps what it drew and
made in a work folder, so a killed run goes on and parts share their pictures.

    python benchmarks/erasure.py --only single     one part
    python benchmarks/erasure.py --quick           all parts, a little of each
"""

from __future__ import annotations

import importlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import torch
import typer
from erasure_parts.context import Context
from reporting import RESULTS, Bar, Report
from rich.console import Console

PARTS = (
    "single",
    "many",
    "styles",
    "memorised",
    "transfer",
    "paraphrases",
    "benign",
    "baselines",
    "attacks",
    "remedies",
    "effort",
    "size",
)


KEPT = RESULTS / "erasure.json"


def main(
    only: Annotated[list[str] | None, typer.Option(help=f"Parts: {', '.join(PARTS)}.")] = None,
    quick: Annotated[bool, typer.Option(help="A little of every part; nothing is kept.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON last.")] = False,
    seed: Annotated[int, typer.Option(help="Of the choice of concepts, and of the pictures.")] = 100,
    pictures: Annotated[int, typer.Option(help="Pictures a cell.")] = 20,
    work: Annotated[Path, typer.Option(help="Folder for pictures and trained baselines.")] = Path("runs/erasure"),
    threads: Annotated[int, typer.Option(help="Threads of torch.")] = 1,
) -> None:
    """Run the parts and report."""
    if unknown := set(only or ()) - set(PARTS):
        raise typer.BadParameter(f"no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    torch.set_num_threads(threads)
    context = Context(work / "quick" if quick else work, quick, seed, pictures)
    console = Console(stderr=True)
    reports: list[Report] = []
    for part in only or PARTS:
        console.print(f"[bold]{part}[/bold]")
        report: Report = importlib.import_module(f"erasure_parts.{part}").run(context)
        report.finish(as_json=False, keep=not quick, to_stderr=as_json)
        reports.append(report)
    if as_json:
        bars = [asdict(bar) for report in reports for bar in report.bars]
        print(json.dumps({"bars": bars, "parts": [report.extra for report in reports]}))
    if not quick:
        _summary(dict(zip(only or PARTS, reports, strict=True)), seed).finish(
            as_json=False, keep=True, to_stderr=as_json
        )


def _summary(ran: dict[str, Report], seed: int) -> Report:
    """The bars of all parts, each of its last full run."""
    kept = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.is_file() else {}
    kept |= {part: [asdict(bar) for bar in report.bars] for part, report in ran.items()}
    KEPT.write_text(json.dumps({part: kept[part] for part in PARTS if part in kept}, indent=1) + "\n", encoding="utf-8")
    report = Report("erasure", extra={"seed": seed})
    for part in (part for part in PARTS if part in kept):
        report.bars += [Bar(**{**bar, "name": f"{part}: {bar['name']}"}) for bar in kept[part]]
    return report


if __name__ == "__main__":
    typer.run(main)
