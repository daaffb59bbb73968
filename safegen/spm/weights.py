"""Reads and writes SPM files in the format that the method's authors published.

Tensors are named as kohya's scripts name them, `lora_unet_<path with underscores>.lora_down.weight`, `.lora_up.weight`,
`.alpha`; metadata holds `prompts`, `rank`, `alpha` and whatever else the recipe states. Invariants: a file read and
written again has the same tensors bit for bit; a file that does not fit the targets is refused whole.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch

from safegen.errors import AdapterFamilyError, AdapterLayerError, AdapterShapeError
from safegen.spm.family import FAMILIES, family_of, name_of
from safegen.spm.layers import ALPHA, DOWN, UP, Layer, layer_name, read_layers
from safegen.spm.membrane import MembraneSet, Target, Targets
from safegen.spm.tensor_reading import TensorFile, read_tensors
from safegen.spm.tensor_writing import write_tensors


class Resolved(NamedTuple):
    """One layer of an SPM, fitted to its target; the update is scale * up @ down.

    Attributes:
        name: path of the target module.
        down: (r, *fan_in of the target), as stored, in the file's dtype.
        up: (out, r), or (out, r, 1, 1) for a convolution.
        scale: alpha / r.
    """

    name: str
    down: torch.Tensor
    up: torch.Tensor
    scale: float


@dataclass(frozen=True)
class SpmFile:
    """The content of one SPM file.

    Attributes:
        layers: layer name (`lora_unet_...`) to (down, up, alpha).
        metadata: the file's text metadata.
        digest: `sha256:<hex>` of the file.
    """

    layers: Mapping[str, Layer]
    metadata: Mapping[str, str]
    digest: str

    @classmethod
    def of(cls, content: TensorFile, where: str) -> SpmFile:
        """The SPM in a safetensors file that was read.

        Raises:
            AdapterIntegrityError: not an SPM; one of its kinds for each fault.
            AdapterShapeError: a layer has a shape that no layer has.
        """
        return cls(layers=read_layers(content, where), metadata=content.metadata, digest=content.digest)

    @property
    def family(self) -> str:
        """The family that the layers' names and shapes tell, whatever the metadata says; "" if they tell none."""
        return family_of({name: (up.shape[0], *down.shape[1:]) for name, (down, up, _) in self.layers.items()})

    @property
    def parameters(self) -> int:
        """Number of trained values."""
        return sum(down.numel() + up.numel() for down, up, _ in self.layers.values())

    def resolve(self, targets: Targets, *, where: str = "") -> list[Resolved]:
        """Each layer with the module that it belongs to, in the targets' order.

        Raises:
            AdapterFamilyError: the SPM is for another family of models, whatever its metadata says.
            AdapterLayerError: a layer has no target.
            AdapterShapeError: a layer has another shape than its target.
        """
        by_layer = {layer_name(name): name for name in targets}
        self._check_family({layer: targets[name].weight.shape for layer, name in by_layer.items()}, where)
        strangers = [layer for layer in self.layers if layer not in by_layer]
        if strangers:
            raise AdapterLayerError(
                f"{len(strangers)} of {len(self.layers)} layers have no counterpart in this model, e.g. {strangers[0]}",
                where=where,
                hint="use an adapter that was trained on a model of the same layout",
            )
        return [
            _resolved(name, layer, self.layers[layer], targets[name], where)
            for layer, name in by_layer.items()
            if layer in self.layers
        ]

    def deltas(self, targets: Targets, *, where: str = "") -> dict[str, torch.Tensor]:
        """Each target's weight update scale * up @ down, at permeability 1, shaped like the target's weight.

        Raises:
            AdapterMismatchError: as `resolve`.
        """
        return {
            name: (up.flatten(1).float() @ down.flatten(1).float()).reshape(targets[name].weight.shape) * scale
            for name, down, up, scale in self.resolve(targets, where=where)
        }

    def _check_family(self, target_shapes: Mapping[str, Sequence[int]], where: str) -> None:
        model, own, stated = family_of(target_shapes), self.family, self.metadata.get("family", "")
        family = own or (stated if stated in FAMILIES else "")
        if not (model and family) or family == model:
            return
        lie = f", though its metadata says {stated!r}" if own and stated and stated != own else ""
        raise AdapterFamilyError(
            f"the adapter is for {name_of(family)}{lie}; this model is {name_of(model)}",
            where=where,
            hint=f"use an adapter that was trained on a {FAMILIES[model]} model",
        )


def _resolved(name: str, layer: str, parts: Layer, target: Target, where: str) -> Resolved:
    down, up, alpha = parts
    shape, rank = target.weight.shape, down.shape[0]
    if up.shape[0] != shape[0] or down.shape[1:].numel() != shape[1:].numel() or up.shape[1:].numel() != rank:
        raise AdapterShapeError(
            f"layer {layer} is {tuple(up.shape)} x {tuple(down.shape)}, its target's weight is {tuple(shape)}",
            where=where,
            hint="use an adapter that was trained on a model of the same size",
        )
    # Files keep 1x1 convolutions and linear layers in either shape; the values are the same.
    tail = (1,) * (len(shape) - 2)
    return Resolved(name, down.reshape(rank, *shape[1:]), up.reshape(shape[0], rank, *tail), alpha / rank)


def read_spm(path: Path, *, expected: str | None = None) -> SpmFile:
    """Read an SPM file.

    A file whose layers have no alpha at all is read with the alpha that its metadata states.

    Args:
        path: the safetensors file.
        expected: the digest that the file must have, `sha256:<hex>`; None to accept any. Checked before a byte is
            parsed.

    Raises:
        AdapterIntegrityError: missing, damaged, another digest, or not an SPM; one of its kinds for each fault.
        AdapterShapeError: a layer has a shape that no layer has.
        AdapterDuplicateError: the header names a tensor twice.
    """
    return SpmFile.of(read_tensors(path, expected=expected), str(path))


def write_spm(path: Path, membranes: MembraneSet, metadata: Mapping[str, object]) -> str:
    """Write the membranes as an SPM file, atomically, and return its digest.

    Values of `metadata` that are not text are written as JSON.
    """
    tensors: dict[str, torch.Tensor] = {}
    for name, membrane in membranes.items():
        layer = layer_name(name)
        tensors[f"{layer}.{DOWN}"] = membrane.down.detach().float()
        tensors[f"{layer}.{UP}"] = membrane.up.detach().float()
        tensors[f"{layer}.{ALPHA}"] = torch.tensor(membrane.alpha)
    text = {key: value if isinstance(value, str) else json.dumps(value) for key, value in metadata.items()}
    return write_tensors(path, tensors, text)
