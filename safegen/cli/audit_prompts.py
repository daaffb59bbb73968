"""`safegen audit unseal | forget | prune`: what a ledger may show to few, and what it may let go.

Invariants: nothing goes without a question; whatever goes, every proof still verifies.
"""

from __future__ import annotations

from datetime import timedelta
from getpass import getuser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from safegen.cli.audit_options import Folder, fail
from safegen.errors import SafegenError
from safegen.safe_text import plain

if TYPE_CHECKING:
    from safegen.ledger import Requested

RequestId = Annotated[str, typer.Argument(metavar="REQUEST_ID", help="The request.")]


def unseal(ledger: Folder, request_id: RequestId) -> None:
    """Show the sealed prompts of a request, with the keys in the ledger's folder."""
    from safegen.ledger import PromptKeys

    try:
        record, keys = _requested(ledger, request_id), PromptKeys(ledger)
        shown = []
        if record.sealed_prompt is not None:
            shown.append(("prompt", keys.open(request_id, "prompt", record.sealed_prompt)))
        if record.sealed_negative_prompt is not None:
            sealed = record.sealed_negative_prompt
            shown.append(("negative prompt", keys.open(request_id, "negative_prompt", sealed)))
    except SafegenError as error:
        fail(error)
    for name, text in shown or [("nothing", "was sealed for this request")]:
        typer.echo(f"{name}: {'its key is not here, or was destroyed' if text is None else plain(text)}")


def forget(
    ledger: Folder,
    request_id: RequestId,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Destroy the keys of a request's sealed prompts: nobody can read them any more, every proof still verifies."""
    from safegen.ledger import PromptKeys

    try:
        _requested(ledger, request_id)
        if not yes:
            typer.confirm(f"Destroy the keys of {plain(request_id)} for good?", abort=True)
        count = PromptKeys(ledger).destroy(request_id)
    except SafegenError as error:
        fail(error)
    typer.echo(f"{count} keys destroyed")


def prune(
    ledger: Folder,
    days: Annotated[int, typer.Option("--older-than", min=1, metavar="DAYS", help="Age of what goes.")],
    reason: Annotated[str, typer.Option(help="Why; the ledger records it.")],
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Remove the records of old, ended requests, keep their hashes, and let the ledger say so."""
    from safegen.ledger import Ledger, utc_now

    try:
        with Ledger.open(ledger, create=False) as opened:
            before = utc_now() - timedelta(days=days)
            if not yes:
                typer.confirm(f"Remove the records from before {before:%Y-%m-%d} for good?", abort=True)
            count = opened.prune(before, reason=reason, by=_operator())
    except SafegenError as error:
        fail(error)
    typer.echo(f"{count} records removed, their hashes kept")


def _requested(folder: Path, request_id: str) -> Requested:
    from safegen.ledger import LedgerReader, Requested

    with LedgerReader.open_read_only(folder) as reader:
        for entry in reader.find(request_id):
            record = entry.record if entry.body else None
            if isinstance(record, Requested):
                return record
    raise SafegenError(f"the ledger knows no request {request_id}", hint="list the latest with `safegen audit show`")


def _operator() -> str:
    """The user of the system who gives the command."""
    try:
        return getuser()
    except (KeyError, OSError, ImportError):  # a user without a name, as in a container
        return "unknown"
