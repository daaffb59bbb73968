"""What an SPM does: is its target still recognised, and are its nearest neighbours?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional as F

from safegen.evaluation.drawing import Sampler, draw_all
from safegen.spm import Attached, SpmFile

if TYPE_CHECKING:
    from PIL.Image import Image

    from safegen.evaluation.judge import Judge, Judgement
    from safegen.models import BaseModel

PICTURES = 20


@dataclass(frozen=True, slots=True)
class Cell:
    """One concept or style under one SPM: how often it is recognised bare and erased, 0..1, and how far pixels move."""

    name: str
    before: float
    after: float
    ssim: float


def nearest(base: BaseModel, target: str, others: Sequence[str], count: int = 3) -> list[str]:
    """The `count` names nearest to the target by cosine of their pooled text states."""
    readings = base.read([target, *others])
    pooled = F.normalize(
        torch.stack([reading.states[1 : 1 + len(reading.tokens)].mean(0) for reading in readings]), dim=-1
    )
    order = (pooled[1:] @ pooled[0]).argsort(descending=True)
    return [others[int(index)] for index in order[:count]]


def measure_cell(
    base: BaseModel,
    judge: Judge,
    prompts: Sequence[tuple[str, int]],
    sampler: Sampler,
    spm: SpmFile,
    *,
    gamma: float = 1.0,
    named: Callable[[Judgement, int], bool],
    name: str,
) -> tuple[Cell, list[Image], list[Image]]:
    """Draw prompts bare and erased; `named` says whether the judge recognises what is asked for in picture i."""
    bare = draw_all(base, prompts, sampler)
    erased = draw_all(base, prompts, sampler, spms=[Attached(spm, gamma, name)])
    shares = []
    for pictures in (bare, erased):
        seen = judge.judge(pictures)
        shares.append(float(np.mean([named(seen, index) for index in range(len(pictures))])))
    return Cell(name, shares[0], shares[1], similarity(bare, erased)), bare, erased


def similarity(left: Sequence[Image], right: Sequence[Image]) -> float:
    """Mean SSIM over pairs of pictures, 1 for equal ones (Wang et al. 2004, 7 x 7 windows, all channels)."""
    a, b = (torch.stack([_tensor(picture) for picture in pictures]) for pictures in (left, right))
    mean_a, mean_b = F.avg_pool2d(a, 7, 1), F.avg_pool2d(b, 7, 1)
    var_a = F.avg_pool2d(a * a, 7, 1) - mean_a**2
    var_b = F.avg_pool2d(b * b, 7, 1) - mean_b**2
    both = F.avg_pool2d(a * b, 7, 1) - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    value = (2 * mean_a * mean_b + c1) * (2 * both + c2) / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
    return float(value.mean())


def _tensor(picture: Image) -> torch.Tensor:
    return torch.from_numpy(np.asarray(picture.convert("RGB"), dtype=np.float32) / 255).permute(2, 0, 1)
