"""Reads and writes SPM files in the format that the method's authors published.

Tensors are named as kohya's scripts name them, `lora_unet_<path with underscores>.lora_down.weight`, `.lora_up.weight`,
`.alpha`; metadata holds `prompts`, `rank`, `alpha` and whatever else the recipe states. Invariants: a file read and
written again has the same tensors bit for bit; a file that does not fit the targets is refused whole.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from safegen.errors import AdapterFamilyError, AdapterLayerError
from safegen.spm.family import FAMILIES, family_of, name_of
from safegen.spm.fitting import ModelLayout, Resolved, fit, layout_of
from safegen.spm.layers import ALPHA, DOWN, UP, Layer, layer_name, read_layers
from safegen.spm.membrane import MembraneSet, Targets
from safegen.spm.tensor_reading import TensorFile, read_tensors
from safegen.spm.tensor_writing import write_tensors


@dataclass(frozen=True, eq=False)  # tensors have no truth of being equal; files are told apart by their digests
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
    _fitted: dict[ModelLayout, Sequence[Resolved]] = field(default_factory=dict, init=False, repr=False, compare=False)

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

    def resolve(self, targets: Targets, *, where: str = "") -> Sequence[Resolved]:
        """Each layer with the module that it belongs to, in the targets' order.

        Raises:
            AdapterFamilyError: the SPM is for another family of models, whatever its metadata says.
            AdapterLayerError: a layer has no target.
            AdapterShapeError: a layer has another shape than its target.
        """
        layout = layout_of(targets)
        if (known := self._fitted.get(layout)) is not None:
            return known
        self._check_family(layout.family, where)
        strangers = [layer for layer in self.layers if layer not in layout.modules]
        if strangers:
            raise AdapterLayerError(
                f"{len(strangers)} of {len(self.layers)} layers have no counterpart in this model, e.g. {strangers[0]}",
                where=where,
                hint="use an adapter that was trained on a model of the same layout",
            )
        fitted = [
            fit(layer, self.layers[layer], name, shape, where)
            for layer, (name, shape) in layout.modules.items()
            if layer in self.layers
        ]
        self._fitted.clear()  # of one model at a time, so that it cannot grow
        self._fitted[layout] = fitted
        return fitted

    def _check_family(self, model: str, where: str) -> None:
        own, stated = self.family, self.metadata.get("family", "")
        family = own or (stated if stated in FAMILIES else "")
        if not (model and family) or family == model:
            return
        lie = f", though its metadata says {stated!r}" if own and stated and stated != own else ""
        raise AdapterFamilyError(
            f"the adapter is for {name_of(family)}{lie}; this model is {name_of(model)}",
            where=where,
            hint=f"use an adapter that was trained on a {FAMILIES[model]} model",
        )


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
