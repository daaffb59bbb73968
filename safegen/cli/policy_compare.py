"""`safegen policy diff | backtest | analyze`: what a policy would change, and what is wrong with it before it is live.

Invariants: reads only; draws nothing. Exit codes: 0 nothing found, 1 an error, or a finding that is one; `diff` and
`backtest` give 4 with `--exit-code` if anything changes.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from safegen.cli.ledger_prompts import LedgerPrompts, is_of_a_ledger

if TYPE_CHECKING:
    from safegen.policy.analysis import Finding

_ERROR = 1
_CHANGED = 4
_LARGEST_QUIET_OVERLAP = 0.1
AsJson = Annotated[bool, typer.Option("--json", help="Write JSON for programs.")]
Old = Annotated[Path, typer.Argument(metavar="OLD", help="The policy as it is.")]
New = Annotated[Path, typer.Argument(metavar="NEW", help="The policy as it would be.")]
ExitCode = Annotated[bool, typer.Option("--exit-code", help="Exit with 4 if anything changes.")]
Now = Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="The day to play on; today if not given.")]


def diff(old: Old, new: New, *, exit_code: ExitCode = False, as_json: AsJson = False) -> None:
    """Show what another version of a policy adds, removes and changes, whatever the layout."""
    from safegen.policy import load_policy_file
    from safegen.policy.compare import differences

    changes = differences(load_policy_file(old), load_policy_file(new))
    if as_json:
        typer.echo(json.dumps([asdict(one) for one in changes], indent=2))
    else:
        rows = [(one.kind, one.part, one.name, one.field, _short(one.old), _short(one.new)) for one in changes]
        _table(("", "part", "name", "field", "old", "new"), rows, empty="no difference")
    if changes and exit_code:
        raise typer.Exit(_CHANGED)


def backtest(
    old: Old,
    new: New,
    prompts: Annotated[
        Path,
        typer.Option(
            metavar="FILE", help="Prompts: .csv, .jsonl, .parquet or .txt; or a ledger's folder, or an export of it."
        ),
    ],
    *,
    ledger: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="The ledger with the keys of an export's sealed prompts.")
    ] = None,
    now: Now = None,
    exit_code: ExitCode = False,
    as_json: AsJson = False,
) -> None:
    """Decide prompts asked before under both policies and show what changes, by rule, with examples."""
    from safegen.policy import load_policy_file
    from safegen.policy.compare import backtest as compare
    from safegen.policy.prompt_files import read_requests

    recorded = None
    if is_of_a_ledger(prompts):
        recorded = LedgerPrompts(prompts, ledger or (prompts if prompts.is_dir() else prompts.parent))
    requests = recorded.requests() if recorded is not None else read_requests(prompts)
    result = compare(load_policy_file(old), load_policy_file(new), requests, now=_day(now))
    unread = recorded.unread if recorded is not None else 0
    outcomes = [{"old": before, "new": after, "prompts": count} for (before, after), count in result.outcomes.items()]
    if as_json:
        typer.echo(json.dumps({**asdict(result), "outcomes": outcomes, "unread": unread}, indent=2))
    else:
        typer.echo(f"{result.changed} of {result.prompts} prompts are decided otherwise")
        if unread:
            typer.echo(f"{unread} more were recorded without a prompt that can be read")
        _table(("old", "new", "prompts"), [tuple(map(str, one.values())) for one in outcomes])
        rows = [(one.rule, str(one.started), str(one.stopped), "\n".join(one.examples)) for one in result.rules]
        _table(("rule", "newly applies", "no longer applies", "examples"), rows)
        _table(("rule in shadow", "would touch"), [(rule, str(count)) for rule, count in result.in_shadow.items()])
    if result.changed and exit_code:
        raise typer.Exit(_CHANGED)


def analyze(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Policy files.")],
    *,
    now: Now = None,
    weights: Annotated[bool, typer.Option("--weights", help="Also measure how adapters overlap; needs torch.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show rules that never act, conflicts, gaps, what has run out, and adapters that are absent."""
    from safegen.policy import load_policy_file
    from safegen.policy.analysis import Finding, analyse
    from safegen.policy.places import Sources

    found: list[tuple[Path, Finding]] = []
    for path in paths:
        policy = load_policy_file(path)
        findings = list(analyse(policy, now=_day(now), adapters=_adapters(policy.base)))
        if weights:
            for pair, overlap in _overlaps(policy).items():
                message = f"the updates overlap by {overlap:+.2f}; erasing both at once changes what each does"
                findings.append(Finding("crosstalk", "note", " + ".join(pair), message))
        found += [(path, one) for one in findings]
    if as_json:
        typer.echo(json.dumps([_finding_as_json(path, one) for path, one in found], indent=2))
    else:
        for path, one in found:
            typer.echo(Sources(path).diagnose(one).render())
        counts = Counter(one.severity for _, one in found)
        summary = ", ".join(f"{counts[name]} {name}{'s' * (counts[name] > 1)}" for name in counts)
        typer.echo(summary or "nothing found")
    if any(one.severity == "error" for _, one in found):
        raise typer.Exit(_ERROR)


def _finding_as_json(path: Path, finding: Finding) -> dict[str, Any]:
    from safegen.policy.places import Sources

    place = Sources(path).diagnose(finding)
    at = {"file": place.file, "line": place.line, "column": place.column, "hint": finding.hint}
    return {"path": str(path), **asdict(finding), **at}


def _adapters(base: str) -> frozenset[str]:
    """Ids of the adapters that the shipped index has for a base; read without the registry, which needs torch."""
    from safegen.data import data_folder

    index = json.loads((data_folder("spm_models") / "index.json").read_text(encoding="utf-8"))
    return frozenset(entry["id"] for entry in index["adapters"] if entry["base"] == base)


def _overlaps(policy: Any) -> dict[tuple[str, str], float]:
    from safegen.spm import Registry
    from safegen.spm.crosstalk import overlaps

    registry = Registry.open()
    known = _adapters(policy.base)
    named = {concept.adapter for concept in policy.concepts if concept.adapter in known}
    base = registry.base(policy.base) if named else None
    spms = {name: registry.load_adapter(name, base=base) for name in named} if base is not None else {}
    return {pair: value for pair, value in overlaps(spms).items() if abs(value) >= _LARGEST_QUIET_OVERLAP}


def _day(now: datetime | None) -> date:
    return (now or datetime.now(UTC)).date()


def _short(value: Any) -> str:
    text = "" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 200 else text[:197] + "..."  # noqa: PLR2004 - as much as a cell shows well


def _table(columns: tuple[str, ...], rows: Sequence[tuple[str, ...]], *, empty: str = "") -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if not rows:
        if empty:
            typer.echo(empty)
        return
    table = Table(*columns)
    for column in table.columns:
        column.overflow = "fold"
    for row in rows:
        table.add_row(*map(Text, row))
    Console(highlight=False).print(table)
