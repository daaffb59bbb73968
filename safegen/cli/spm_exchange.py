"""`safegen spm import | export`: exchanges SPM files with WebUI, ComfyUI, diffusers and the method's authors.

Exit codes: 0 done, 1 error, 2 usage.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from safegen.spm import Targets

Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
Base = Annotated[
    str | None,
    typer.Option(help="Id or folder of the base model; by default the published model of the file's family."),
]


def import_adapter(
    file: Annotated[Path, typer.Argument(help="A LoRA file in kohya's or diffusers' format.")],
    out: Annotated[Path | None, typer.Option(help="File to write; by default in runs/imported.")] = None,
    base: Base = None,
    concept: Annotated[str, typer.Option(help="What it erases; by default what its metadata says.")] = "",
    *,
    as_json: Json = False,
) -> None:
    """Make an SPM file of a published one, or of a LoRA of other programs; values stay as they are."""
    from safegen.errors import AdapterFamilyError, AdapterMismatchError
    from safegen.models.layouts import PUBLISHED
    from safegen.spm.exchange import read_foreign, write_import

    foreign = read_foreign(file)
    if not (base or foreign.spm.family):
        raise AdapterFamilyError(
            "its layers do not tell for which family it is", where=str(file), hint="name a base model with --base"
        )
    family, targets = _layout(base, foreign.spm.family)
    try:
        layers = foreign.spm.resolve(targets, where=str(file))
    except AdapterMismatchError as error:
        if base is None:
            error.hint = f"it was held against {PUBLISHED[family][0]}; name its own model with --base"
        raise
    out = out or Path("runs/imported") / f"{file.stem}.safetensors"
    digest = write_import(foreign, out, family=family, concept=concept)
    ranks = sorted({layer.down.shape[0] for layer in layers})
    if as_json:
        shown = {
            "path": str(out),
            "digest": digest,
            "family": family,
            "layers": len(layers),
            "modules": len(targets),
            "ranks": ranks,
            "parameters": foreign.spm.parameters,
            "alpha_assumed": foreign.assumed,
            "calibration_dropped": foreign.calibrated,
        }
        typer.echo(json.dumps(shown, indent=2))
        return
    typer.echo(f"{out}: {family}, {len(layers)} of {len(targets)} modules, rank {', '.join(map(str, ranks))}\n{digest}")
    if foreign.assumed:
        typer.echo("no alpha was stated; alpha = rank was written, as all programs read such files")
    if foreign.calibrated:
        typer.echo(
            "its calibration was dropped: it counts only in the text space that it was fitted in; a guard makes one "
            "when it first needs it, and `safegen spm calibrate FILE --base ID --write` keeps one"
        )


def export_adapter(
    adapter: Annotated[str, typer.Argument(help="Id of an adapter of the registry, or an SPM file.")],
    out: Annotated[Path, typer.Option(help="File to write.")],
    form: Annotated[
        Literal["kohya", "diffusers"],
        typer.Option("--format", help="kohya: WebUI, ComfyUI, diffusers. diffusers: PEFT's names, for any family."),
    ] = "kohya",
    base: Base = None,
    *,
    as_json: Json = False,
) -> None:
    """Write an SPM as a LoRA file of other programs; tensors stay as they are."""
    from safegen.spm import Registry, read_spm
    from safegen.spm.exchange import export_spm

    path, expected = Path(adapter), None
    if not path.is_file():
        registry = Registry.open()
        entry = registry.adapter(adapter)
        path, expected, base = registry.locate(entry), entry.digest, base or entry.base
    targets = None
    if base or form == "diffusers":
        spm = read_spm(path, expected=expected)
        _, targets = _layout(base, spm.family or spm.metadata.get("family", ""))
    digest = export_spm(path, out, form=form, targets=targets, expected=expected)
    if as_json:
        typer.echo(json.dumps({"path": str(out), "digest": digest, "format": form}, indent=2))
    else:
        typer.echo(f"{out}: {form}\n{digest}")


def _layout(base: str | None, family: str) -> tuple[str, Targets]:
    """Family and targets of a base model of the registry, of one in a folder, or of the family's published one."""
    from safegen.models.layouts import folder_targets, published_targets
    from safegen.spm import Registry
    from safegen.spm.family import family_of
    from safegen.spm.layers import layer_name

    if base is None:
        return family, published_targets(family)
    folder = Path(base)
    if not folder.is_dir():
        registry = Registry.open()
        folder = registry.folder_of(registry.base(base))
    targets = folder_targets(folder)
    return family_of({layer_name(path): module.weight.shape for path, module in targets.items()}), targets
