"""A target's weight with an update in it.

Invariants: the weight that is handed in is only read; the new one has its dtype and its strides, so that convolutions
keep their memory format and their kernels; memory that is kept for the next folding is never in a module meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable
from weakref import WeakKeyDictionary

import torch
from torch import nn

from safegen.errors import AdapterError
from safegen.spm.updates import Update

_SPARE: WeakKeyDictionary[nn.Module, torch.Tensor] = WeakKeyDictionary()
_SPARE_VALUES = 16 * 2**20
"""A model whose touched weights have at most so many values keeps the memory that they were folded into: for a small
model, getting fresh memory takes longer than the sums."""


def is_small(weights: Iterable[torch.Tensor]) -> bool:
    """Whether these weights are few enough to keep memory for them."""
    return sum(weight.numel() for weight in weights) <= _SPARE_VALUES


def take_spare(module: nn.Module, weight: torch.Tensor) -> torch.Tensor | None:
    """Memory that was kept for this module, if it is still of the weight's kind."""
    spare = _SPARE.pop(module, None)
    if spare is None or (spare.shape, spare.stride()) != (weight.shape, weight.stride()):
        return None
    return spare if (spare.dtype, spare.device) == (weight.dtype, weight.device) else None


def keep_spare(module: nn.Module, spare: torch.Tensor) -> None:
    """Keep a folded weight's memory for the module's next one; nobody may use it any more."""
    _SPARE[module] = spare


@torch.no_grad()
def folded(weight: torch.Tensor, update: Update, group: int, *, into: torch.Tensor | None = None) -> torch.Tensor:
    """weight + up @ diag(gains of the group) @ down, in one product however many terms there are.

    Args:
        weight: the module's own.
        update: what is added.
        group: for which group of permeabilities.
        into: memory to use, with the weight's shape, strides and type.

    Raises:
        AdapterError: the weight is not in memory as numbers.
    """
    if weight.is_meta or not weight.is_floating_point():
        state = "not loaded" if weight.is_meta else str(weight.dtype)
        raise AdapterError(
            f"a weight of the model is {state}, so nothing can be added to it",
            hint="attach to a model whose weights are loaded as floating-point numbers, without offloading",
        )
    gains, down, up = update.gains[group], update.down, update.up
    if len(update.gains) > 1:
        acting = gains.nonzero().flatten()
        gains, down, up = gains[acting], down[acting], up[:, acting]
    up = up * gains
    new = torch.empty_like(weight) if into is None else into
    if down.dim() > 2 and not weight.is_contiguous():  # noqa: PLR2004 - a convolution whose channels stand last in memory
        down, source, target = down.permute(0, 2, 3, 1), weight.permute(0, 2, 3, 1), new.permute(0, 2, 3, 1)
    else:
        source, target = weight, new
    matrix, up, down = source.flatten(1), up.to(weight.device), down.flatten(1).to(weight.device)
    if weight.dtype == torch.float32 and target.is_contiguous():
        torch.addmm(matrix, up, down, out=target.view_as(matrix))
    else:
        target.copy_(torch.addmm(matrix.float(), up, down).reshape(target.shape))
    return new
