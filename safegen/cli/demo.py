"""`safegen demo`: the main job on the shipped model, as one page and one picture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

TAMPERED = 4


def demo(
    out: Annotated[Path, typer.Option(help="Folder for demo.html, demo.png, the images and the ledger.")] = Path(
        "demo-out"
    ),
    policy: Annotated[str, typer.Option(help="Policy file, or the name of a shipped one.")] = "default",
) -> None:
    """Draw a dozen prompts, bare and guarded, verify the ledger, and write demo.html and demo.png."""
    from rich.console import Console

    from safegen.demo import page, picture, scenario

    console = Console()
    out.mkdir(parents=True, exist_ok=True)
    with console.status("loading the model") as status:
        done = scenario.run(out, policy=policy, progress=lambda prompt: status.update(f"drawing: {prompt}"))
    (out / "demo.html").write_text(page.render(done), encoding="utf-8")
    picture.draw(done).save(out / "demo.png")
    for shown in done.shown:
        console.print(f"{shown.result.outcome:9} {shown.prompt:48} {shown.why}", highlight=False)
    state = "verified" if done.report.ok else f"{len(done.report.problems)} problems"
    console.print(f"ledger: {done.report.size} entries, {state}; {done.seconds:.0f} s in all")
    console.print(f"open {out / 'demo.html'}")
    if not done.report.ok:
        raise typer.Exit(TAMPERED)
