"""`safegen spm calibrate`: fits the gate of an SPM again, draws it, and keeps it with the SPM if asked.

Exit codes: 0 done, 1 error, 2 usage.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from safegen.safe_text import plain

if TYPE_CHECKING:
    from safegen.spm import AdapterEntry, Calibration, Registry


@dataclass(frozen=True)
class _Subject:
    """What is calibrated: a file, by which phrases, for which base, and its entry if a registry has one."""

    file: Path
    phrases: tuple[str, ...]
    base: str
    entry: AdapterEntry | None


def calibrate(
    adapter: Annotated[str, typer.Argument(metavar="ADAPTER|FILE", help="Id in the registry, or an SPM file.")],
    phrase: Annotated[list[str] | None, typer.Option(help="A phrase of the concept; by default those it has.")] = None,
    base: Annotated[str | None, typer.Option(help="Id of the base model; by default the adapter's own.")] = None,
    target: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Prompts of the concept, one a line.")
    ] = None,
    benign: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="Ordinary prompts beside the built-in ones, one a line."),
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the curve and both histograms here (.png or .svg).")] = None,
    registry: Annotated[
        Path | None, typer.Option(help="Folder with an index.json; the shipped one by default.")
    ] = None,
    *,
    write: Annotated[
        bool, typer.Option("--write", help="Keep the calibration in the file, and state its new digest in the index.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False,
) -> None:
    """Fit the gate of an SPM, draw it, and keep it if asked."""
    from safegen.evaluation.gate_calibration import calibrate as fit
    from safegen.evaluation.gate_calibration import text_space
    from safegen.evaluation.gate_plot import text_histogram, write_plot
    from safegen.models import load_base
    from safegen.spm import Registry

    opened = Registry.open(registry)
    subject = _subject(opened, adapter, tuple(phrase or ()), base)
    entry = opened.base(subject.base)
    model = load_base(opened.folder_of(entry), digest=entry.digest)
    calibration = fit(text_space(model), subject.phrases, target_prompts=_lines(target), benign_prompts=_lines(benign))
    digest = _write(opened, subject, calibration) if write else None
    if plot is not None:
        write_plot(calibration, f"{adapter}: {', '.join(subject.phrases)}", plot)
    if as_json:
        shown = {"file": str(subject.file), "digest": digest, "calibration": calibration.model_dump(mode="json")}
        typer.echo(json.dumps(shown, indent=2))
        return
    typer.echo(f"phrases   {plain(', '.join(subject.phrases))}")
    typer.echo(f"opens     from similarity {calibration.cutoff:.3f}, fully from {calibration.curve[-1].similarity:.3f}")
    typer.echo(
        f"concept   {calibration.target.open:.1%} of {calibration.target.prompts} prompts open it by meaning alone"
    )
    typer.echo(f"ordinary  {calibration.benign.open:.1%} of {calibration.benign.prompts} prompts open it")
    for line in text_histogram(calibration):
        typer.echo(f"          {line}")
    if calibration.confused:
        typer.echo(f"read like the concept: {plain('; '.join(calibration.confused))}")
    typer.echo(f"kept in {subject.file}, {digest}" if digest else "not kept; --write keeps it in the file")


def _subject(registry: Registry, adapter: str, phrases: tuple[str, ...], base: str | None) -> _Subject:
    from safegen.errors import AdapterIntegrityError
    from safegen.spm import read_spm

    file = Path(adapter)
    if not file.is_file():
        entry = registry.adapter(adapter)
        return _Subject(registry.locate(entry), phrases or entry.phrases, base or entry.base, entry)
    metadata = read_spm(file).metadata
    phrases = phrases or tuple(part.strip() for part in metadata.get("prompts", "").split(",") if part.strip())
    if not phrases:
        raise AdapterIntegrityError(
            "the file's metadata names no prompts", where=adapter, hint="name the concept with --phrase"
        )
    if base is None and "base" not in metadata:
        raise AdapterIntegrityError(
            "the file's metadata names no base model", where=adapter, hint="name one of the registry with --base"
        )
    return _Subject(file, phrases, base or metadata["base"], None)


def _write(registry: Registry, subject: _Subject, calibration: Calibration) -> str:
    """Keep the calibration in the file; the tensors stay bit for bit what they were."""
    from safegen.spm.calibration import KEY
    from safegen.spm.tensor_reading import read_tensors
    from safegen.spm.tensor_writing import write_tensors

    content = read_tensors(subject.file, expected=subject.entry.digest if subject.entry else None)
    digest = write_tensors(subject.file, content.tensors, {**content.metadata, KEY: calibration.to_metadata()})
    if subject.entry is not None:
        changes = {"digest": digest, "phrases": subject.phrases}
        registry.with_entry("adapters", subject.entry.model_copy(update=changes)).save()
    return digest


def _lines(path: Path | None) -> list[str]:
    if path is None:
        return []
    from safegen.errors import TrainingError

    try:
        return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise TrainingError("the file of prompts is not UTF-8 text", where=str(path)) from error
