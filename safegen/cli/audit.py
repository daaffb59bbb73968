"""`safegen audit`: verify a ledger, look into it, check a receipt.

Invariants: reads only and needs no private key, but for `forget` and `prune`. Exit codes: 0 fine, 1
error, 2 usage, 4 tampering found.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from safegen.cli import audit_data, audit_prompts, audit_replay
from safegen.cli.audit_options import TAMPERED, AsJson, Folder, PublicKey, fail, key_text
from safegen.errors import LedgerError, SafegenError
from safegen.safe_text import plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from safegen.ledger import Entry, LedgerReader, Record, RequestSummary, VerificationReport

app = typer.Typer(no_args_is_help=True, help="Look into a ledger and verify it.")
for _command in (audit_data.prove, audit_data.export, audit_data.query, audit_data.report, audit_data.keys):
    app.command()(_command)
app.command()(audit_replay.replay)
app.command()(audit_prompts.unseal)
app.command()(audit_prompts.forget)
app.command()(audit_prompts.prune)


@app.command()
def verify(
    ledger: Annotated[Path, typer.Argument(metavar="LEDGER", help="Folder of the ledger, or an export (.jsonl).")],
    key: PublicKey = None,
    kept: Annotated[list[Path] | None, typer.Option(help="Checkpoint that you kept: shows a ledger set back.")] = None,
    witness: Annotated[
        list[str] | None, typer.Option(metavar="KEY", help="Key of a witness that must have cosigned; may be repeated.")
    ] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Recompute the whole ledger and check it against its signatures, and those of witnesses if wanted."""
    from safegen.ledger import WitnessKey, check_cosignatures, read_public_key, verify_ledger
    from safegen.ledger.folder import CHECKPOINT_FILE

    try:
        keys = [WitnessKey.parse(key_text(one)) for one in witness or ()]
        if keys:
            check_cosignatures(_text(ledger / CHECKPOINT_FILE), keys, len(keys))
        trusted = key_text(key) if key is not None else str(read_public_key(ledger))
        report = verify_ledger(ledger, trusted, known_checkpoints=map(_text, kept or ()))
    except SafegenError as error:
        fail(error)
    if as_json:
        typer.echo(json.dumps({"ok": report.ok, **report.model_dump(mode="json")}, indent=2))
    else:
        _render_report(report, own_key=key is None)
    if not report.ok:
        raise typer.Exit(TAMPERED)


@app.command()
def show(
    ledger: Folder,
    request_id: Annotated[str | None, typer.Argument(help="One request, to see in full.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many requests to list, newest first.")] = 20,
    *,
    as_json: AsJson = False,
) -> None:
    """List the latest requests, or show all records of one."""
    from safegen.ledger import LedgerReader

    try:
        with LedgerReader.open_read_only(ledger) as reader:
            if request_id is None:
                _show_list(reader.recent_requests(limit), as_json=as_json)
            else:
                _show_request(reader, request_id, as_json=as_json)
    except SafegenError as error:
        fail(error)


@app.command()
def receipt(
    file: Annotated[Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False, help="Receipt as JSON.")],
    key: Annotated[str, typer.Option("--key", metavar="PUB", help="Public key that you trust: its text or a file.")],
    record: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Record as JSON that the receipt should be about.")
    ] = None,
) -> None:
    """Check a receipt offline, with nothing but the public key."""
    from safegen.ledger import Receipt, verify_receipt

    try:
        found = Receipt.from_json(file.read_bytes())
        head = verify_receipt(found, None if record is None else _canonical(record), key_text(key))
    except SafegenError as error:
        fail(error)
    about = "the record" if record is not None else "a record with that hash (pass --record to check which)"
    typer.echo(f"valid: {about} is entry {found.index} of {head.size} in {head.origin}")


@app.command()
def schema() -> None:
    """Write the JSON Schema of the records."""
    from safegen.ledger import record_schema_text

    typer.echo(record_schema_text(), nl=False)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise SafegenError(f"cannot read the checkpoint: {error}", where=str(path)) from error


def _canonical(path: Path) -> bytes:
    """The canonical bytes of a record in a file, however it is laid out."""
    import rfc8785

    try:
        return rfc8785.dumps(json.loads(path.read_bytes()))
    except ValueError as error:
        raise SafegenError(f"not a record: {error}", where=str(path)) from error


def _render_report(report: VerificationReport, *, own_key: bool) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    table = Table(show_header=False, box=None)
    outcomes = ", ".join(f"{count} {name}" for name, count in sorted(report.outcomes.items())) or "none"
    for name, value in (
        ("ledger", report.origin),
        ("entries", f"{report.size}, of which {report.unsigned_tail} after the last checkpoint"),
        ("checkpoints", str(report.checkpoints)),
        ("pruned", f"{report.pruned} records are gone by a signed `pruned` record; their hashes are here"),
        ("root", report.root),
        ("requests", f"{outcomes}; {len(report.open_requests)} open"),
    ):
        table.add_row(name, escape(plain(value)))
    console.print(table)
    if own_key:
        console.print("[yellow]The key came from the ledger's own folder: pass --key with one that you were given.[/]")
    for problem in report.problems:
        place = "" if problem.index is None else f" at {problem.index}"
        console.print(f"[red]{escape(problem.name)}[/]{place}: {escape(plain(problem.message))}")
    console.print("[green]No tampering found.[/]" if report.ok else f"[red]{len(report.problems)} problems found.[/]")


def _show_list(requests: Sequence[RequestSummary], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps([request.model_dump(mode="json") for request in requests], indent=2))
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("time", "request", "action", "outcome", "policy", "adapters (gamma)")
    for request in requests:
        policy = "" if request.policy is None else f"{request.policy.id} {request.policy.version}"
        adapters = ", ".join(f"{one.adapter} ({one.gamma:.2f})" for one in request.permeabilities)
        cells = (request.time, request.request_id, request.action, _state(request), policy, adapters)
        table.add_row(*(escape(plain(cell)) for cell in cells))
    Console().print(table)


def _show_request(reader: LedgerReader, request_id: str, *, as_json: bool) -> None:
    entries = reader.find(request_id)
    if not entries:
        raise SafegenError(
            f"the ledger knows no request {request_id}", hint="list the latest with `safegen audit show`"
        )
    if as_json:
        typer.echo(json.dumps([_as_json(entry) for entry in entries], indent=2))
        return
    from rich.console import Console

    console = Console()
    for entry in entries:
        record = _record(entry)
        if record is not None:
            console.rule(f"{entry.index} {record.stage}")
            console.print_json(entry.body.decode())
        else:
            console.rule(f"{entry.index} {'not readable' if entry.body else 'pruned'}")
            console.print(plain(entry.body.decode("utf-8", "backslashreplace")), markup=False, highlight=False)


def _state(request: RequestSummary) -> str:
    state = request.outcome or ("pruned" if request.pruned else "open")
    return f"{state}, {request.unreadable} records not readable: verify" if request.unreadable else state


def _record(entry: Entry) -> Record | None:
    """The record of an entry; None if it was pruned, damaged, or is of a newer version."""
    try:
        return entry.record if entry.body else None
    except LedgerError:
        return None


def _as_json(entry: Entry) -> dict[str, object]:
    record = _record(entry)
    shown: dict[str, object] = {"record": None if record is None else record.model_dump(mode="json")}
    if record is None and entry.body:
        shown["unreadable"] = entry.body.decode("utf-8", "backslashreplace")
    return {"index": entry.index, "leaf_hash": entry.leaf_hash.hex(), **shown}
