"""Packs what a denoiser reads of a text, the tokens' states and a pooled vector, into one tensor, and unpacks it.

Training handles texts as rows of one tensor: it repeats, joins and picks them, and needs no word of what they hold.
Invariant: unpacking gives back what was packed, bit for bit.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F


def pack(states: torch.Tensor, pooled: torch.Tensor) -> torch.Tensor:
    """(texts, tokens, width) and (texts, pooled width) as (texts, rows, width), the pooled vector in the last rows."""
    width = states.shape[-1]
    rows = F.pad(pooled, (0, -pooled.shape[-1] % width)).reshape(len(pooled), -1, width)
    return torch.cat([states, rows.to(states.dtype)], dim=1)


def unpack(packed: torch.Tensor, pooled_width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """States (texts, tokens, width) and pooled vectors (texts, pooled width)."""
    rows = -(-pooled_width // packed.shape[-1])
    return packed[:, :-rows], packed[:, -rows:].flatten(1)[:, :pooled_width]
