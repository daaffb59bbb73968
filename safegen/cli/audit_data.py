"""`safegen audit` commands that hand something on: proofs, exports, answers to queries, the public key."""

from __future__ import annotations

import base64
import json
from contextlib import closing
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from safegen.cli.audit_options import TAMPERED, AsJson, Folder, PublicKey, fail, key_text
from safegen.data import data_folder
from safegen.errors import SafegenError
from safegen.safe_text import as_csv, as_json, plain

if TYPE_CHECKING:
    from safegen.ledger import LedgerReader
    from safegen.ledger.analysis import Answer, SavedQuery

_PEM_PREFIX = bytes.fromhex("302a300506032b6570032100")
"""The ASN.1 head of an Ed25519 public key (RFC 8410, section 10.1)."""


class Shape(StrEnum):
    """How the rows of an answer are written."""

    table = "table"
    csv = "csv"
    json = "json"


def prove(
    ledger: Folder,
    identity: Annotated[str, typer.Argument(metavar="ID", help="Request (its last record), or number of an entry.")],
    out: Annotated[Path | None, typer.Option(help="File for the proof; else it is written to the screen.")] = None,
    record: Annotated[Path | None, typer.Option(help="File for the record that the proof is about.")] = None,
    key: PublicKey = None,
) -> None:
    """Write the proof that a record is in the ledger, as a `.tlog-proof`."""
    from safegen.ledger import LedgerReader, VerifierKey, read_public_key

    try:
        trusted = read_public_key(ledger) if key is None else VerifierKey.parse(key_text(key))
        with LedgerReader.open_read_only(ledger) as reader:
            index = _index_of(reader, identity)
            text = reader.prove(index, trusted).to_tlog_proof()
            body = next(reader.entries(index, index + 1)).body
    except SafegenError as error:
        fail(error)
    if record is not None and not body:
        fail(SafegenError(f"the record of entry {index} was pruned", hint="the proof alone can be had"))
    if record is not None:
        record.write_bytes(body)
    if out is None:
        typer.echo(text, nl=False)
    else:
        out.write_text(text, encoding="utf-8", newline="")
        typer.echo(f"entry {index}: {out}")


def export(
    ledger: Folder,
    out: Annotated[Path, typer.Argument(metavar="FILE", help="FILE.jsonl, which verifies again, or FILE.parquet.")],
    *,
    dsa: Annotated[bool, typer.Option("--dsa", help="Statements of reasons instead (optional for most).")] = False,
    territory: Annotated[
        list[str] | None, typer.Option(metavar="CC", help="For --dsa: country in which the decisions hold; repeat.")
    ] = None,
) -> None:
    """Write the whole ledger to a file, or statements of reasons for what was refused or withheld.

    The statements have the shape of the EU's DSA Transparency Database. Whether a service must send any is for its
    lawyers.
    """
    from safegen.ledger import LedgerReader

    if out.suffix not in ({".jsonl"} if dsa else {".jsonl", ".parquet"}):
        raise typer.BadParameter("name the file .jsonl" if dsa else "name the file .jsonl or .parquet")
    try:
        with LedgerReader.open_read_only(ledger) as reader:
            size = reader.export_statements(out, territory or ()) if dsa else reader.export(out)
    except SafegenError as error:
        fail(error)
    typer.echo(f"{size} {'statements' if dsa else 'entries'}: {out}")


def query(
    ledger: Folder,
    question: Annotated[
        str | None, typer.Argument(help="Name of a saved query, or SQL. Without it: list them.")
    ] = None,
    given: Annotated[list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A parameter.")] = None,
    shape: Annotated[Shape, typer.Option("--as", help="How to write the rows.")] = Shape.table,
) -> None:
    """Ask the ledger in SQL (DuckDB); tables: entries, requests, scores, permeabilities, bundle, disagreements, ..."""
    from safegen.ledger import LedgerReader
    from safegen.ledger.analysis import saved_queries

    saved = saved_queries(data_folder("audit") / "queries")
    if question is None:
        _list_queries(saved)
        return
    parameters = dict(_pair(text) for text in given or ())
    try:
        with LedgerReader.open_read_only(ledger) as reader, closing(reader.analyse()) as analysis:
            if question in saved:
                answer = analysis.ask_saved(saved[question], parameters)
            else:
                answer = analysis.ask(question, parameters)
    except SafegenError as error:
        fail(error)
    _show(answer, shape)


def report(
    ledger: Folder,
    out: Annotated[Path, typer.Argument(metavar="FILE", help="HTML file to write.")],
    key: PublicKey = None,
) -> None:
    """Write a report for people: volume, outcomes, permeabilities, scores, disagreements, latency, verification."""
    from safegen.ledger import LedgerReader, read_public_key, utc_now, verify_ledger
    from safegen.ledger.report import render_report

    try:
        verification = verify_ledger(ledger, str(read_public_key(ledger)) if key is None else key_text(key))
        with LedgerReader.open_read_only(ledger) as reader, closing(reader.analyse()) as analysis:
            made = f"{utc_now():%Y-%m-%d %H:%M} UTC"
            text = render_report(analysis, verification, templates=data_folder("audit"), made=made, own_key=key is None)
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        fail(SafegenError(f"cannot write the report: {error.strerror}", where=str(out)))
    except SafegenError as error:
        fail(error)
    typer.echo(f"{'verified' if verification.ok else 'PROBLEMS FOUND'}: {out}")
    if not verification.ok:
        raise typer.Exit(TAMPERED)


def keys(
    ledger: Folder,
    pem: Annotated[bool, typer.Option("--pem", help="Write the public key as PEM, for openssl and others.")] = False,
    *,
    as_json_: AsJson = False,
) -> None:
    """Show the public key of a ledger, to hand to whoever verifies."""
    from safegen.ledger import read_public_key

    try:
        key = read_public_key(ledger)
    except SafegenError as error:
        fail(error)
    if pem:
        encoded = base64.b64encode(_PEM_PREFIX + key.public).decode()
        typer.echo(f"-----BEGIN PUBLIC KEY-----\n{encoded}\n-----END PUBLIC KEY-----")
    elif as_json_:
        typer.echo(json.dumps({"name": key.name, "key_id": key.key_id.hex(), "verifier_key": str(key)}, indent=2))
    else:
        typer.echo(str(key))


def _index_of(reader: LedgerReader, identity: str) -> int:
    """The last entry of a request, or the entry of that number if no request is named so."""
    entries = reader.find(identity)
    if entries:
        return entries[-1].index
    if identity.isascii() and identity.isdecimal():
        return int(identity)
    raise SafegenError(f"the ledger knows no request {identity}", hint="list the latest with `safegen audit show`")


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise typer.BadParameter(f"{text!r} is not NAME=VALUE")
    return name, value


def _list_queries(saved: dict[str, SavedQuery]) -> None:
    for name, one in saved.items():
        typer.echo(f"{name}: {one.says}")
        for parameter, default in one.parameters.items():
            typer.echo(f"    --set {parameter}={default.strip(chr(39))}")


def _show(answer: Answer, shape: Shape) -> None:
    if shape is Shape.json:
        typer.echo(as_json(answer.columns, answer.rows))
    elif shape is Shape.csv:
        typer.echo(as_csv(answer.columns, answer.rows), nl=False)
    else:
        from rich.console import Console
        from rich.markup import escape
        from rich.table import Table

        table = Table(*(escape(plain(column)) for column in answer.columns))
        for row in answer.rows:
            table.add_row(*(escape(plain(value)) for value in row))
        Console().print(table)
        typer.echo(f"{len(answer.rows)} rows")
