"""`safegen generate`: one prompt, from policy to receipt, with a table of what happened and why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from safegen.guard import Generation
    from safegen.guard.result import Seen

REFUSED = 3


def generate(  # noqa: PLR0917 - each is an option of the command line
    prompt: Annotated[str, typer.Argument(help="What to draw.")],
    policy: Annotated[str, typer.Option(help="Policy file, or the name of a shipped one.")] = "default",
    negative_prompt: Annotated[str, typer.Option(help="What to steer away from.")] = "",
    n: Annotated[int, typer.Option("--n", "-n", help="How many images.")] = 1,
    seed: Annotated[int | None, typer.Option(help="Seed of the first image; random by default.")] = None,
    width: Annotated[int | None, typer.Option(help="In pixels; the base model's own size by default.")] = None,
    height: Annotated[int | None, typer.Option(help="In pixels.")] = None,
    steps: Annotated[int | None, typer.Option(help="Denoising steps.")] = None,
    guidance: Annotated[float | None, typer.Option(help="Scale of classifier-free guidance.")] = None,
    tenant: Annotated[str | None, typer.Option(help="The app's customer, where rules ask for it.")] = None,
    market: Annotated[str | None, typer.Option(help="The market that the images are for.")] = None,
    age_gate: Annotated[str | None, typer.Option(help="passed, failed or unknown.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for images, contact sheet, result and receipt.")] = Path("out"),
    ledger: Annotated[Path | None, typer.Option(help="Ledger folder; a folder of the user's own by default.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON and nothing else.")] = False,
) -> None:
    """Draw images under a policy. Exits with 3 if the request was refused or every image withheld."""
    from safegen.cli.progress import drawing_progress
    from safegen.guard import Guard
    from safegen.guard.sheet import contact_sheet

    audience = {"tenant": tenant, "market": market, "age_gate": age_gate}
    with Guard.open(policy, ledger=ledger) as guard, drawing_progress(quiet=as_json) as progress:
        result = guard.generate(
            prompt,
            negative_prompt=negative_prompt,
            n=n,
            seed=seed,
            width=width,
            height=height,
            steps=steps,
            guidance=guidance,
            audience={name: value for name, value in audience.items() if value is not None},
            progress=progress,
        )
        where = guard.ledger_folder
    result.save(out)
    if result.images:
        contact_sheet(result).save(out / f"{result.request_id}.sheet.png")
    if as_json:
        typer.echo(json.dumps(result.to_json(), indent=2))
    else:
        show(result, out, where)
    if result.outcome != "released":
        raise typer.Exit(REFUSED)


def show(result: Generation, out: Path, ledger: Path) -> None:
    """Render one result on the terminal."""
    from rich.console import Console

    console = Console()
    console.print(_decision_table(result))
    if result.images:
        console.print(_image_table(result))
    _print_end(console, result, out, ledger)


def _decision_table(result: Generation) -> Table:
    from rich.table import Table

    colour = {"released": "green", "refused": "red", "withheld": "yellow"}[result.outcome]
    policy = result.decision.policy
    table = Table(title=f"[bold {colour}]{result.outcome}[/]  policy {policy.id} version {policy.version}")
    for column in ("rule", "action", "because of", "membrane", "permeability"):
        table.add_column(column)
    gammas = {membrane.concept: membrane for membrane in result.membranes}
    for match in result.decision.matches:
        membrane = gammas.get(match.concept or "")
        opened = f"{membrane.gamma:.2f}{' escalated' if membrane.escalated else ''}" if membrane else ""
        words = f'"{match.text}"' if match.text else "every prompt"
        table.add_row(match.rule, match.action, words, membrane.adapter if membrane else "", opened)
    if not result.decision.matches:
        table.add_row("none", "allow", "no rule touches this prompt", "", "")
    return table


def _image_table(result: Generation) -> Table:
    from rich.table import Table

    table = Table()
    for column in ("image", "seed", "attempts", "reviewer", "looked for", "score", "outcome"):
        table.add_column(column)
    for image in result.images:
        head = (str(image.index), str(image.seed), str(image.attempt + 1))
        if not image.seen:
            table.add_row(*head, "none ordered", "", "", image.outcome)
        for seen in image.seen:
            table.add_row(*head, seen.reviewer, seen.label, _against_threshold(seen), image.outcome)
    return table


def _against_threshold(seen: Seen) -> str:
    if seen.score is None:
        return f"failed: {seen.failure}"
    return f"{seen.score:.2f} {'>=' if seen.found else '<'} {seen.threshold:.2f}"


def _print_end(console: Console, result: Generation, out: Path, ledger: Path) -> None:
    if result.decision.refusal:
        console.print(f"[red]{result.decision.refusal.reason}[/]")
    for note in result.notes:
        console.print(f"note: {note}")
    took = "  ".join(f"{name} {seconds:.2f} s" for name, seconds in result.seconds.items())
    console.print(f"request {result.request_id}  {took}")
    console.print(f"receipt: entry {result.receipt.index} of {result.receipt.tree_size} in {ledger}; files in {out}")
