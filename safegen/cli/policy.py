"""`safegen policy`: check policy files, explain what a policy does with a prompt, write the schema of the format.

Invariants: reads only, and draws nothing. Exit codes: 0 fine, 1 error, 2 usage, 3 the prompt is refused, 4 (of commands
in the neighbouring modules) a difference or a false signature that was asked about.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from safegen.cli import policy_compare, policy_files, policy_tests
from safegen.cli.policy_tables import render_decision

if TYPE_CHECKING:
    from safegen.errors import PolicyError
    from safegen.policy import Policy

app = typer.Typer(no_args_is_help=True, help="Check policies and see what they decide.")
app.command("test")(policy_tests.run_tests)
app.command("diff")(policy_compare.diff)
app.command("backtest")(policy_compare.backtest)
app.command("analyze")(policy_compare.analyze)
app.command("fmt")(policy_files.fmt)
app.command("sign")(policy_files.sign)
app.command("verify")(policy_files.verify)

_ERROR = 1
_REFUSED = 3
AsJson = Annotated[bool, typer.Option("--json", help="Write JSON for programs.")]
PolicyFile = Annotated[
    Path | None, typer.Option("--policy", metavar="PATH", help="Policy file; the shipped default if not given.")
]


@app.command()
def check(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Policy files.")], *, as_json: AsJson = False
) -> None:
    """Report every problem of each policy file, with its place and what to do."""
    from safegen.errors import PolicyError
    from safegen.policy import load_policy_file

    outcomes: list[tuple[Path, Policy | PolicyError]] = []
    for path in paths:
        try:
            outcomes.append((path, load_policy_file(path)))
        except PolicyError as error:
            outcomes.append((path, error))
    if as_json:
        typer.echo(json.dumps([_check_as_json(path, outcome) for path, outcome in outcomes], indent=2))
    else:
        for path, outcome in outcomes:
            _render_check(path, outcome)
    if any(isinstance(outcome, PolicyError) for _, outcome in outcomes):
        raise typer.Exit(_ERROR)


@app.command()
def explain(
    prompt: Annotated[str, typer.Argument(metavar="PROMPT", help="The prompt, in quotes.")],
    policy: PolicyFile = None,
    *,
    tenant: Annotated[str | None, typer.Option(help="The app's customer.")] = None,
    market: Annotated[str | None, typer.Option(help="The market, e.g. de.")] = None,
    age_gate: Annotated[str, typer.Option(help="passed, failed or unknown.")] = "unknown",
    subject: Annotated[str, typer.Option(help="Whom staged roll-outs count by.")] = "",
    now: Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="The day; today if not given.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show which rules apply to a prompt, because of which words, and what follows."""
    if any("\ud800" <= one <= "\udfff" for one in prompt):
        raise typer.BadParameter("the prompt is not UTF-8")
    from pydantic import ValidationError

    from safegen.data import data_folder
    from safegen.errors import PolicyError
    from safegen.policy import PromptRequest, decide, load_policy_file

    fields = {"prompt": prompt, "tenant": tenant, "market": market, "age_gate": age_gate, "subject": subject}
    try:
        request = PromptRequest.model_validate(fields)
    except ValidationError as error:
        wrong = error.errors()[0]
        raise typer.BadParameter(f"{wrong['loc'][0]}: {wrong['msg']}") from error
    try:
        loaded = load_policy_file(policy or data_folder("policies") / "default.yaml")
    except PolicyError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(_ERROR) from error
    decision = decide(loaded, request, now=(now or datetime.now(UTC)).date())
    if as_json:
        typer.echo(decision.model_dump_json(indent=2))
    else:
        render_decision(decision)
    if decision.action == "refuse":
        raise typer.Exit(_REFUSED)


@app.command()
def schema(
    *, tests: Annotated[bool, typer.Option("--tests", help="The schema of `*_test.yaml` files instead.")] = False
) -> None:
    """Write the JSON Schema of policies, or of the tests beside them."""
    from safegen.policy.schema import policy_schema_text, suite_schema_text

    typer.echo(suite_schema_text() if tests else policy_schema_text(), nl=False)


def _check_as_json(path: Path, outcome: Policy | PolicyError) -> dict[str, object]:
    from dataclasses import asdict

    from safegen.policy import DiagnosedSemanticError, DiagnosedSyntaxError, Policy

    if isinstance(outcome, Policy):
        about = {"id": outcome.id, "version": outcome.version, "digest": outcome.digest}
        return {"path": str(path), "ok": True, **about, "diagnostics": []}
    diagnostics: list[dict[str, object]] = []
    if isinstance(outcome, DiagnosedSyntaxError | DiagnosedSemanticError):
        diagnostics = [asdict(one) for one in outcome.diagnostics]
    return {"path": str(path), "ok": False, "code": outcome.code, "error": str(outcome), "diagnostics": diagnostics}


def _render_check(path: Path, outcome: Policy | PolicyError) -> None:
    from rich.console import Console
    from rich.text import Text

    from safegen.policy import Policy

    console = Console(soft_wrap=True, highlight=False)
    if isinstance(outcome, Policy):
        about = f"{outcome.id} version {outcome.version}, {len(outcome.concepts)} concepts, {len(outcome.rules)} rules"
        console.print(Text(f"{path}: "), Text("ok", style="green"), Text(f": {about}, {outcome.digest}"), sep="")
        return
    text = Text(str(outcome))
    text.highlight_regex(r"(?m)^\s+\| +\^+$", "red")
    text.highlight_regex(r"(?m)^  hint: .*$", "cyan")
    console.print(text)
