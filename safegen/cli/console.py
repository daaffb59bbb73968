"""`safegen console`: the auditor's console over a ledger, in a browser on this machine."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from safegen.cli.audit_options import PublicKey, fail, key_text
from safegen.errors import ConsoleError, SafegenError

if TYPE_CHECKING:
    from safegen.serve.console.context import Console


def console(
    ledger: Annotated[Path, typer.Argument(metavar="LEDGER", help="Folder of the ledger.")],
    images: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder with released images, which are found by their digest.")
    ] = None,
    key: PublicKey = None,
    kept: Annotated[
        list[Path] | None,
        typer.Option(exists=True, dir_okay=False, help="Checkpoint that you kept: shows a ledger set back."),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 for any that is free.")] = 8717,
    name: Annotated[
        list[str] | None, typer.Option(metavar="HOST[:PORT]", help="Further name that browsers call the console by.")
    ] = None,
    index: Annotated[
        Path | None, typer.Option(metavar="FILE", help="File of the query index; in your cache if not given.")
    ] = None,
    *,
    allow_remote: Annotated[bool, typer.Option(help="Listen where other machines reach it. Put TLS in front.")] = False,
    open_browser: Annotated[bool, typer.Option("--open", help="Open the browser.")] = False,
) -> None:
    """Look through a ledger in the browser: read only, on this machine only unless you say otherwise."""
    opened = False

    def announce(address: str) -> None:
        nonlocal opened
        typer.echo(f"{'open' if not opened else 'used; the next one is'}  {address}")
        if open_browser and not opened:
            typer.launch(address)
        opened = True

    try:
        with _console(ledger, images, key, kept or (), index) as shown:
            from safegen.serve.console.server import serve

            shown.start()
            typer.echo(f"{shown.state.size} records in {ledger}; Ctrl-C stops the console")
            with suppress(KeyboardInterrupt):
                serve(
                    shown, host=host, port=port, allow_remote=allow_remote, names=tuple(name or ()), announce=announce
                )
    except SafegenError as error:
        fail(error)


def _console(
    ledger: Path, images: Path | None, key: str | None, kept: list[Path] | tuple[()], index: Path | None
) -> Console:
    try:
        from safegen.serve.console.context import Console
    except ImportError as error:
        raise ConsoleError(f"the console needs {error.name}", hint="pip install 'safegen[serve]'") from error
    from safegen.ledger import VerifierKey

    trusted = None if key is None else VerifierKey.parse(key_text(key))
    return Console(
        ledger, key=trusted, images=images, index=index, known_checkpoints=tuple(key_text(str(one)) for one in kept)
    )
