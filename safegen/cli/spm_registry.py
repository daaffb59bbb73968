"""`safegen spm list | show | verify`: what the registry holds, and whether it is whole.

Exit codes: 0 done, 1 error or something broken, 2 usage.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from safegen.safe_text import plain

if TYPE_CHECKING:
    from rich.table import Table

    from safegen.spm import AdapterEntry, Calibration, Registry

Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
Place = Annotated[
    str | None,
    typer.Option("--registry", help="Folder with an index.json, or hub:owner/name@commit; the shipped one by default."),
]
_BAR = 30


def open_registry(place: str | None) -> Registry:
    """The registry at a place, the shipped one by default."""
    from safegen.spm import Registry

    return Registry.open() if place is None else Registry.at(place)


def list_adapters(
    search: Annotated[str, typer.Argument(help="Only adapters whose id, concept or phrases hold this.")] = "",
    category: Annotated[str | None, typer.Option(help="Only this category.")] = None,
    base: Annotated[str | None, typer.Option(help="Only those trained on this base model.")] = None,
    family: Annotated[str | None, typer.Option(help="Only those for this family of models.")] = None,
    registry: Place = None,
    *,
    as_json: Json = False,
) -> None:
    """List the adapters of the registry."""
    from rich.console import Console

    wanted = search.casefold()
    entries = [
        entry
        for entry in open_registry(registry).index.adapters
        if category in {None, entry.category}
        and base in {None, entry.base}
        and family in {None, entry.family}
        and any(wanted in text.casefold() for text in (entry.id, entry.concept, *entry.phrases))
    ]
    if as_json:
        typer.echo(json.dumps([entry.model_dump(mode="json") for entry in entries], indent=2))
        return
    Console().print(_table(entries))
    if not entries:
        typer.echo("no adapter matches; `safegen spm list` without filters lists all")


def _table(entries: list[AdapterEntry]) -> Table:
    from rich.table import Table

    table = Table(title=f"{len(entries)} adapters", title_justify="left")
    table.add_column("id", no_wrap=True)
    for column in ("category", "base", "rank"):
        table.add_column(column)
    for column in ("before", "after", "neighbour", "opens from", "benign"):
        table.add_column(column, justify="right")
    table.caption = (
        "before, after: share of the concept's pictures that show it; neighbour: change of the worst one's; "
        "opens from: least similarity of a prompt; benign: ordinary prompts that open it"
    )
    for entry in entries:
        seen = [entry.measured.get(key) for key in ("target_before", "target_after", "neighbours_change")]
        shown = [f"{value:.0%}" if value is not None else "-" for value in seen]
        gate = entry.calibration
        shown += [f"{gate.cutoff:.2f}", f"{gate.benign_open:.1%}"] if gate else ["-", "-"]
        texts = (entry.id, entry.category, entry.base)
        table.add_row(*(plain(text) for text in texts), str(entry.rank), *shown)
    return table


def show_adapter(
    adapter: Annotated[str, typer.Argument(help="Id of an adapter.")], registry: Place = None, *, as_json: Json = False
) -> None:
    """Show one adapter: its entry, its file's metadata and size, and how its gate opens."""
    from safegen.spm import read_spm
    from safegen.spm.calibration import KEY, stored_calibration

    opened = open_registry(registry)
    entry = opened.adapter(adapter)
    spm = read_spm(opened.locate(entry), expected=entry.digest)
    calibration = stored_calibration(spm.metadata)
    shown: dict[str, Any] = {**entry.model_dump(mode="json"), "layers": len(spm.layers), "parameters": spm.parameters}
    shown["metadata"] = {key: value for key, value in spm.metadata.items() if key != KEY}
    shown["calibration"] = calibration.model_dump(mode="json") if calibration else None
    if as_json:
        typer.echo(json.dumps(shown, indent=2))
        return
    shown.pop("calibration")
    for key, value in shown.items():
        text = json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list | tuple) else str(value)
        typer.echo(f"{key:12} {plain(text)}")
    typer.echo(f"{'gate':12} {_gate(calibration)}")


def _gate(calibration: Calibration | None) -> str:
    if calibration is None:
        return "not calibrated; one is made on the spot, `safegen spm calibrate` keeps it"
    from safegen.evaluation.gate_plot import text_histogram

    lines = [
        f"opens from similarity {calibration.cutoff:.2f}, fully from {calibration.curve[-1].similarity:.2f}",
        f"opened by {calibration.target.open:.1%} of {calibration.target.prompts} of the concept's prompts, by meaning",
        f"opened by {calibration.benign.open:.1%} of {calibration.benign.prompts} ordinary prompts",
    ]
    if calibration.confused:
        lines.append("ordinary prompts that read like the concept: " + plain("; ".join(calibration.confused)))
    return ("\n" + " " * 13).join([*lines, *text_histogram(calibration)])


def verify(registry: Place = None, *, as_json: Json = False) -> None:
    """Check every file of the registry and every claim of its index; exits with 1 if something is broken."""
    from safegen.spm.verification import check_registry

    checked = []
    for one in check_registry(open_registry(registry)):
        checked.append(one)
        if not as_json:
            typer.echo(f"{'FAILED' if one.problems else 'ok':7}{one.kind:9}{plain(one.id)}")
            for problem in one.problems:
                typer.echo(f"       - {plain(problem)}")
    broken = [one for one in checked if one.problems]
    if as_json:
        rows = [{"kind": one.kind, "id": one.id, "problems": list(one.problems)} for one in checked]
        typer.echo(json.dumps(rows, indent=2))
    else:
        typer.echo(f"{len(checked)} checked, {len(broken)} broken")
    if broken:
        raise typer.Exit(1)
