"""What all benchmarks share: bars, one table, `--json` at the end, and the kept result with date and machine."""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Bar:
    """One claim: a measured value against its bar."""

    name: str
    value: float
    unit: str
    bar: str
    holds: bool


@dataclass
class Report:
    """Everything one benchmark says."""

    name: str
    bars: list[Bar] = field(default_factory=list)
    tables: list[tuple[str, Sequence[str], list[Sequence[Any]]]] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)

    def at_least(self, name: str, value: float, bar: float, unit: str = "share") -> None:
        """A bar that the value must reach."""
        self.bars.append(Bar(name, round(value, 4), unit, f">= {bar:g}", value >= bar))

    def at_most(self, name: str, value: float, bar: float, unit: str = "share") -> None:
        """A bar that the value must not pass."""
        self.bars.append(Bar(name, round(value, 4), unit, f"<= {bar:g}", value <= bar))

    def below(self, name: str, value: float, bar: float, unit: str = "share") -> None:
        """A bar that the value must stay under; equal is not under."""
        self.bars.append(Bar(name, round(value, 4), unit, f"< {bar:g}", value < bar))

    def finish(self, *, as_json: bool, keep: bool, to_stderr: bool = False) -> None:
        """Print tables and bars, to standard error if asked or before JSON; keep the full run; print JSON last."""
        tables = [
            ("bars", ("name", "value", "unit", "bar", "holds"), [tuple(asdict(bar).values()) for bar in self.bars])
        ]
        console = Console(stderr=as_json or to_stderr)
        for title, columns, rows in (*self.tables, *tables):
            table = Table(*columns, title=title)
            for row in rows:
                table.add_row(*(_text(value) for value in row))
            console.print(table)
        if keep:
            self._keep((*self.tables, *tables))
        if as_json:
            print(json.dumps({"bars": [asdict(bar) for bar in self.bars], **self.extra}))

    def _settings(self) -> str:
        """What of `extra` is one number or word."""
        short = ((name, value) for name, value in self.extra.items() if isinstance(value, int | float | str))
        return "; ".join(f"{name} {value}" for name, value in short)

    def _keep(self, tables: Sequence[tuple[str, Sequence[str], list[Sequence[Any]]]]) -> None:
        lines = [f"# {self.name}", "", f"{datetime.now(UTC):%Y-%m-%d}, {machine()}", "", f"Command: `{command()}`", ""]
        if settings := self._settings():
            lines += [f"Settings: {settings}.", ""]
        for title, columns, rows in tables:
            lines += [f"## {title}", "", "| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
            lines += ["| " + " | ".join(_text(value) for value in row) + " |" for row in rows]
            lines.append("")
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{self.name}.md").write_text("\n".join(lines), encoding="utf-8")


def _text(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def machine() -> str:
    """Processor, threads and software, in a line."""
    import os

    import torch

    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        names = [
            line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if line.startswith("model name")
        ]
        model = names[0] if names else model
    return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}, torch {torch.__version__}"


def command() -> str:
    """The command line of this run, from the repository's root."""
    return " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]])
