"""The command line: one file a command group, each of which parses, calls and renders, and no more.

Exit codes: 0 done, 1 error, 2 usage, 3 refused or withheld, 4 tampering found.
"""

from __future__ import annotations

import sys

import typer

from safegen.cli import audit, console, demo, generate, policy, spm
from safegen.errors import SafegenError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.command("generate")(generate.generate)
app.command("demo")(demo.demo)
app.command("console")(console.console)
app.add_typer(policy.app, name="policy")
app.add_typer(spm.app, name="spm")
app.add_typer(audit.app, name="audit")


@app.callback()
def safegen() -> None:
    """Safe text-to-image generation: policy, erasure, review, ledger."""


def main() -> None:
    """Run the command line; a known error becomes one message and exit code 1."""
    try:
        app()
    except SafegenError as error:
        typer.secho(f"error ({error.code}): {error}", fg="red", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        typer.secho("interrupted; what was under way is closed in the ledger", fg="yellow", err=True)
        sys.exit(130)
