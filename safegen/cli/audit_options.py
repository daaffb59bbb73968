"""What the commands of `safegen audit` share: options, exit codes, and text that is safe to show.

Invariants: nothing that a record holds reaches a terminal or a spreadsheet as a command: control characters are shown
as escapes, and cells that a spreadsheet would take for a formula are quoted.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from safegen.errors import LedgerTamperedError, SafegenError

ERROR = 1
TAMPERED = 4
Folder = Annotated[Path, typer.Argument(metavar="LEDGER_DIR", help="Folder of the ledger.")]
AsJson = Annotated[bool, typer.Option("--json", help="Write JSON for programs.")]
PublicKey = Annotated[
    str | None,
    typer.Option("--key", metavar="PUB", help="Public key that you trust: its text, or a file that holds it."),
]
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def key_text(given: str) -> str:
    """The verifier key given as text or as a file."""
    path = Path(given)
    try:
        return path.read_text(encoding="utf-8") if path.is_file() else given
    except (OSError, ValueError) as error:
        raise SafegenError(f"cannot read the key: {error}", where=given) from error


def fail(error: SafegenError) -> NoReturn:
    """End the command with the message and the exit code of an error."""
    message = plain(error, keep="\n")
    typer.echo(f"error: {message}", err=True)
    raise typer.Exit(TAMPERED if isinstance(error, LedgerTamperedError) else ERROR)


def plain(value: object, *, keep: str = "") -> str:
    """A value as text in which nothing can steer a terminal."""
    text = "" if value is None else str(value)
    return "".join(
        letter if letter.isprintable() or letter in keep else letter.encode("unicode_escape").decode()
        for letter in text
    )


def as_csv(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Rows as CSV; a text that a spreadsheet would take for a formula is preceded by an apostrophe."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return file.getvalue()


def as_json(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Rows as a JSON array of objects."""
    return json.dumps([dict(zip(columns, row, strict=True)) for row in rows], indent=2, default=_for_json)


def _cell(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return plain("'" + value if value.startswith(_FORMULA) else value, keep="\n\t")


def _for_json(value: object) -> str:
    return value.isoformat() if isinstance(value, date | datetime) else str(value)
