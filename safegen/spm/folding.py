"""A target's weight with an update in it.

Invariants: the weight that is handed in is only read; the new one has its dtype and its strides, so that convolutions
keep their memory format and their kernels.
"""

from __future__ import annotations

import torch

from safegen.errors import AdapterError
from safegen.spm.updates import Update


@torch.no_grad()
def folded(weight: torch.Tensor, update: Update, group: int) -> torch.Tensor:
    """weight + up^T @ diag(gains of the group) @ down, in one product however many terms there are.

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
        gains, down, up = gains[acting], down[acting], up[acting]
    up = (up * gains[:, None]).T
    new = torch.empty_like(weight)
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
