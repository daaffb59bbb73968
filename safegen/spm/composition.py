"""Attaches any number of SPMs to a denoiser, exactly, and takes them off again bit for bit.

W' = W + sum over c of gamma_c * (alpha_c / r_c) * up_c down_c (arXiv 2312.16145, Eq. 9, generalised to rank r). The
sum is folded into a new weight for the time of drawing, so a step costs what it costs bare. Invariants: the original
`Parameter` objects are put back, untouched, on every way out; an SPM with gamma 0 folds nothing; one denoiser has at
most one set attached at a time.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
from torch import nn

from safegen.errors import AdapterError
from safegen.spm.membrane import Target, Targets
from safegen.spm.weights import SpmFile

_ATTACHED: WeakKeyDictionary[nn.Module, str] = WeakKeyDictionary()
_LOCK = threading.Lock()


@dataclass(frozen=True, slots=True)
class Attached:
    """One SPM at one permeability.

    Attributes:
        spm: the file's content.
        gamma: permeability; 0 leaves the model untouched.
        name: what errors call it.
    """

    spm: SpmFile
    gamma: float
    name: str = ""


@contextmanager
def attach(targets: Targets, spms: Sequence[Attached]) -> Iterator[int]:
    """Fold the SPMs into the targets' weights within the context; yields how many act (gamma != 0).

    Raises:
        AdapterMismatchError: an SPM does not fit the targets; nothing is attached then.
        AdapterError: SPMs are attached to these modules already.
    """
    active = [item for item in spms if item.gamma != 0]
    if not active:
        yield 0
        return
    folded = _fold(targets, active)
    _claim(targets, folded, ", ".join(item.name for item in active))
    originals: list[tuple[Target, torch.Tensor]] = []
    try:
        for name, weight in folded.items():
            module = targets[name]
            originals.append((module, module.weight))
            module.weight = nn.Parameter(weight, requires_grad=False)
        yield len(active)
    finally:
        for module, parameter in originals:
            module.weight = parameter
        _release(targets, folded)


@torch.no_grad()
def _fold(targets: Targets, active: Sequence[Attached]) -> dict[str, torch.Tensor]:
    sums: dict[str, torch.Tensor] = {}
    for item in active:
        for name, delta in item.spm.deltas(targets, where=item.name).items():
            sums[name] = sums[name].add_(delta, alpha=item.gamma) if name in sums else delta.mul_(item.gamma)
    # Same strides as the original, so that convolutions keep their memory format and their kernels.
    return {
        name: targets[name].weight.detach().add(delta.to(targets[name].weight.dtype)) for name, delta in sums.items()
    }


def _claim(targets: Targets, folded: dict[str, torch.Tensor], names: str) -> None:
    with _LOCK:
        for name in folded:
            if (other := _ATTACHED.get(targets[name])) is not None:
                raise AdapterError(
                    f"SPMs are attached to this model already ({other})",
                    where=name,
                    hint="draw with one guard at a time, or load the model twice",
                )
        for name in folded:
            _ATTACHED[targets[name]] = names


def _release(targets: Targets, folded: dict[str, torch.Tensor]) -> None:
    with _LOCK:
        for name in folded:
            _ATTACHED.pop(targets[name], None)
