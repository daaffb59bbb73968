"""Which names stand nearest to a concept in the text encoder's space: what erasing it is most likely to harm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

if TYPE_CHECKING:
    from safegen.models import BaseModel


def nearest(base: BaseModel, target: str, others: Sequence[str], count: int = 3) -> list[str]:
    """The `count` names nearest to the target by cosine of their pooled text states."""
    readings = base.read([target, *others])
    pooled = F.normalize(
        torch.stack([reading.states[1 : 1 + len(reading.tokens)].mean(0) for reading in readings]), dim=-1
    )
    order = (pooled[1:] @ pooled[0]).argsort(descending=True)
    return [others[int(index)] for index in order[:count]]
