"""Exchanges SPM files with other programs: published files in, kohya's and diffusers' formats out.

Invariants: the tensors that come in are those that go out, bit for bit and in their own types (rows of them, where the
source has several layers as one); nothing is imported that does not fit a model of its family; no calibration is
imported, since it counts only in the text space that it was fitted in, and a file does not show in which it will act;
what is written can be read again.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from safegen.spm.calibration import KEY
from safegen.spm.formats import ALPHA_METADATA, PEFT_METADATA, to_diffusers, to_kohya_metadata, to_spm
from safegen.spm.layers import ALPHA, layer_name
from safegen.spm.membrane import Targets
from safegen.spm.tensor_reading import TensorFile, read_tensors
from safegen.spm.tensor_writing import write_tensors
from safegen.spm.weights import SpmFile

Format = Literal["kohya", "diffusers"]

_OF_FORMATS = {ALPHA_METADATA, PEFT_METADATA, "format"}  # of the container, not of the SPM


@dataclass(frozen=True)
class Foreign:
    """A file of another program, read as an SPM.

    Attributes:
        content: tensors under an SPM file's names, with the source's own metadata and digest.
        spm: the same, as it attaches.
        assumed: whether its alphas were stated nowhere, so that alpha = rank was taken.
        calibrated: whether its metadata had a calibration, which is left out.
    """

    content: TensorFile
    spm: SpmFile
    assumed: bool
    calibrated: bool


def read_foreign(path: Path) -> Foreign:
    """Read a LoRA file in kohya's or diffusers' format.

    Raises:
        AdapterError: damaged, or no LoRA of Linear and Conv2d layers of a denoiser; one of its kinds for each fault.
    """
    where = str(path)
    source = read_tensors(path)
    tensors, assumed = to_spm(source, where)
    metadata = {key: value for key, value in source.metadata.items() if key not in {*_OF_FORMATS, KEY}}
    content = TensorFile(tensors=tensors, metadata=metadata, digest=source.digest)
    return Foreign(content=content, spm=SpmFile.of(content, where), assumed=assumed, calibrated=KEY in source.metadata)


def write_import(foreign: Foreign, path: Path, *, family: str, concept: str = "") -> str:
    """Write a file that was read as an SPM file, and return its digest.

    The metadata keeps what the source had but its calibration, and states family, rank, alpha, concept and the source's
    digest.

    Args:
        foreign: what was read, and was found to fit a model (`foreign.spm.resolve`).
        path: the file to write.
        family: the family of that model.
        concept: what the SPM erases; by default what the source's `prompts` say.
    """
    prompts = foreign.content.metadata.get("prompts", concept)
    stated = {
        "concept": concept or prompts,
        "prompts": prompts,
        "family": family,
        "source_digest": foreign.content.digest,
        **_scale(foreign.spm),
    }
    return write_tensors(path, foreign.content.tensors, {**foreign.content.metadata, **stated})


def export_spm(
    path: Path, out: Path, *, form: Format, targets: Targets | None = None, expected: str | None = None
) -> str:
    """Write an SPM file in another program's format, and return the new file's digest.

    Args:
        path: the SPM file.
        out: the file to write.
        form: `kohya` (WebUI, ComfyUI, diffusers) or `diffusers` (PEFT names).
        targets: the modules of a model that the SPM fits; needed for `diffusers`, since paths with dots cannot be had
            from names with underscores.
        expected: the digest that the SPM file must have.

    Raises:
        AdapterError: the file is damaged, or does not fit the targets.
        ValueError: `diffusers` without targets.
    """
    content = read_tensors(path, expected=expected)
    spm = SpmFile.of(content, str(path))
    layers = spm.resolve(targets, where=str(path)) if targets is not None else []
    if form == "kohya":
        return write_tensors(out, content.tensors, {**_kohya(spm), **content.metadata})
    if targets is None:
        raise ValueError("diffusers' format needs the targets, which tell the paths of modules")
    alphas = {}
    for layer in layers:
        name = layer_name(layer.name)
        alphas[layer.name] = content.tensors.get(f"{name}.{ALPHA}", torch.tensor(spm.layers[name][2]))
    return write_tensors(out, *to_diffusers(layers, alphas, content.metadata))


def _scale(spm: SpmFile) -> dict[str, str]:
    """Rank and alpha as the official metadata has them, where all layers agree."""
    ranks = {down.shape[0] for down, _, _ in spm.layers.values()}
    alphas = {alpha for _, _, alpha in spm.layers.values()}
    return {key: str(*values) for key, values in (("rank", ranks), ("alpha", alphas)) if len(values) == 1}


def _kohya(spm: SpmFile) -> dict[str, str]:
    ranks = [down.shape[0] for down, _, _ in spm.layers.values()]
    return to_kohya_metadata(ranks, [alpha for _, _, alpha in spm.layers.values()], spm.family)
