"""What the commands of `safegen audit` share: options, exit codes and how they fail."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NoReturn

import typer

from safegen.errors import LedgerTamperedError, SafegenError
from safegen.safe_text import plain

ERROR = 1
TAMPERED = 4
Folder = Annotated[Path, typer.Argument(metavar="LEDGER_DIR", help="Folder of the ledger.")]
AsJson = Annotated[bool, typer.Option("--json", help="Write JSON for programs.")]
PublicKey = Annotated[
    str | None,
    typer.Option("--key", metavar="PUB", help="Public key that you trust: its text, or a file that holds it."),
]


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
