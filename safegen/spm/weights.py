"""Reads and writes SPM files in the format that the method's authors published.

Tensors are named as kohya's scripts name them, `lora_unet_<path with underscores>.lora_down.weight`, `.lora_up.weight`,
`.alpha`; metadata holds `prompts`, `rank`, `alpha` and whatever else the recipe states. Invariants: a file read and
written again has the same tensors bit for bit; a file that does not fit the targets is refused whole.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from safegen.data import file_digest
from safegen.errors import AdapterIntegrityError, AdapterMismatchError
from safegen.spm.membrane import MembraneSet, Target, Targets

_PREFIX = "lora_unet_"


@dataclass(frozen=True)
class SpmFile:
    """The content of one SPM file.

    Attributes:
        layers: layer name (`lora_unet_...`) to (down, up, alpha).
        metadata: the file's text metadata.
        digest: `sha256:<hex>` of the file.
    """

    layers: Mapping[str, tuple[torch.Tensor, torch.Tensor, float]]
    metadata: Mapping[str, str]
    digest: str

    @property
    def parameters(self) -> int:
        """Number of trained values."""
        return sum(down.numel() + up.numel() for down, up, _ in self.layers.values())

    def deltas(self, targets: Targets, *, where: str = "") -> dict[str, torch.Tensor]:
        """Each target's weight update (alpha / r) * up @ down, at permeability 1, shaped like the target's weight.

        Raises:
            AdapterMismatchError: a layer has no target, or another shape than its target.
        """
        by_layer = {layer_name(name): name for name in targets}
        strangers = [layer for layer in self.layers if layer not in by_layer]
        if strangers:
            raise AdapterMismatchError(
                f"{len(strangers)} of {len(self.layers)} layers have no counterpart in this model, e.g. {strangers[0]}",
                where=where,
                hint="the adapter was trained on another family of models",
            )
        return {
            by_layer[layer]: _delta(layer, parts, targets[by_layer[layer]], where)
            for layer, parts in self.layers.items()
        }


def _delta(layer: str, parts: tuple[torch.Tensor, torch.Tensor, float], target: Target, where: str) -> torch.Tensor:
    down, up, alpha = parts
    shape = target.weight.shape
    rank = down.shape[0]
    if up.shape[0] != shape[0] or down.flatten(1).shape[1] != shape[1:].numel() or up.flatten(1).shape[1] != rank:
        raise AdapterMismatchError(
            f"layer {layer} is {tuple(up.shape)} x {tuple(down.shape)}, its target's weight is {tuple(shape)}",
            where=where,
        )
    return (up.flatten(1).float() @ down.flatten(1).float()).reshape(shape) * (alpha / rank)


def layer_name(path: str) -> str:
    """The file's name of a module path: `a.b.0.c` becomes `lora_unet_a_b_0_c`."""
    return _PREFIX + path.replace(".", "_")


def read_spm(path: Path, *, expected: str | None = None) -> SpmFile:
    """Read an SPM file.

    Args:
        path: the safetensors file.
        expected: the digest that the file must have, `sha256:<hex>`; None to accept any.

    Raises:
        AdapterIntegrityError: missing, damaged, another digest, or incomplete layers.
    """
    if not path.is_file():
        raise AdapterIntegrityError(
            "the adapter file is missing", where=str(path), hint="reinstall, or check the index"
        )
    digest = file_digest(path)
    if expected is not None and digest != expected:
        raise AdapterIntegrityError(
            f"the adapter file has digest {digest[:19]}..., the index states {expected[:19]}...",
            where=str(path),
            hint="the file was changed; restore it, or re-index it if the change is yours",
        )
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a mapping
            metadata = dict(file.metadata() or {})
    except SafetensorError as error:
        raise AdapterIntegrityError(f"not a readable safetensors file: {error}", where=str(path)) from error
    return SpmFile(layers=_layers(tensors, path), metadata=metadata, digest=digest)


def _layers(tensors: dict[str, torch.Tensor], path: Path) -> dict[str, tuple[torch.Tensor, torch.Tensor, float]]:
    names = {key.split(".", 1)[0] for key in tensors}
    layers = {}
    for name in sorted(names):
        try:
            down, up = tensors[f"{name}.lora_down.weight"], tensors[f"{name}.lora_up.weight"]
        except KeyError as error:
            raise AdapterIntegrityError(f"layer {name} lacks {error}", where=str(path)) from error
        if not (torch.isfinite(down).all() and torch.isfinite(up).all()):
            raise AdapterIntegrityError(f"layer {name} holds values that are not finite", where=str(path))
        alpha = tensors.get(f"{name}.alpha")
        layers[name] = (down, up, float(down.shape[0] if alpha is None else alpha))
    if not layers:
        raise AdapterIntegrityError("the file holds no layers", where=str(path))
    return layers


def write_spm(path: Path, membranes: MembraneSet, metadata: Mapping[str, object]) -> str:
    """Write the membranes as an SPM file, atomically, and return its digest.

    Values of `metadata` that are not text are written as JSON.
    """
    tensors: dict[str, torch.Tensor] = {}
    for name, membrane in membranes.items():
        layer = layer_name(name)
        tensors[f"{layer}.lora_down.weight"] = membrane.down.detach().float().contiguous()
        tensors[f"{layer}.lora_up.weight"] = membrane.up.detach().float().contiguous()
        tensors[f"{layer}.alpha"] = torch.tensor(membrane.alpha)
    text = {key: value if isinstance(value, str) else json.dumps(value) for key, value in metadata.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    save_file(tensors, partial, metadata=text)
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    partial.replace(path)
    return file_digest(path)
