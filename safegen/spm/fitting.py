"""Fits the layers of an SPM to the modules of a model.

Invariants: a layer fits if its shape is its module's; a linear layer and a 1x1 convolution hold the same values in
either shape; fitting copies nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import torch

from safegen.errors import AdapterShapeError
from safegen.spm.family import family_of
from safegen.spm.layers import Layer, layer_name
from safegen.spm.membrane import Targets

_MODELS = 16  # whose layouts are kept


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


@dataclass(frozen=True, eq=False)
class ModelLayout:
    """What a model's targets look like to an SPM.

    Attributes:
        modules: layer name to the module's path and the shape of its weight, in the targets' order.
        family: the family that they tell; "" if they tell none.
    """

    modules: Mapping[str, tuple[str, torch.Size]]
    family: str


def layout_of(targets: Targets) -> ModelLayout:
    """The layout of these targets; the same object for all models of one layout."""
    return _layout(tuple((name, module.weight.shape) for name, module in targets.items()))


@lru_cache(maxsize=_MODELS)
def _layout(shapes: tuple[tuple[str, torch.Size], ...]) -> ModelLayout:
    modules = {layer_name(name): (name, shape) for name, shape in shapes}
    return ModelLayout(modules, family_of({layer: shape for layer, (_, shape) in modules.items()}))


def fit(layer: str, parts: Layer, name: str, shape: torch.Size, where: str) -> Resolved:
    """One layer, fitted to the module of that path and shape of weight.

    Raises:
        AdapterShapeError: it has another shape.
    """
    down, up, alpha = parts
    rank = down.shape[0]
    pointwise = all(size == 1 for size in (*down.shape[2:], *shape[2:]))
    if up.shape[0] != shape[0] or down.shape[1] != shape[1] or not (pointwise or down.shape[2:] == shape[2:]):
        raise AdapterShapeError(
            f"layer {layer} is {tuple(up.shape)} x {tuple(down.shape)}, its target's weight is {tuple(shape)}",
            where=where,
            hint="use an adapter that was trained on a model of the same size",
        )
    tail = (1,) * (len(shape) - 2)
    return Resolved(name, down.reshape(rank, *shape[1:]), up.reshape(shape[0], rank, *tail), alpha / rank)
