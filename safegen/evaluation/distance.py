"""How far generated pictures are from real ones as a set: FID and KID in the judge's feature space.

The usual Inception features come from a hub and know photographs; the judge's know this world. So the numbers compare
with each other only, and with the distance between two sets of real pictures, which is the floor.
"""

from __future__ import annotations

import torch
from torch import nn

_SUBSETS, _SUBSET = 50, 400


class _Given(nn.Module):
    """Features that were computed before, in the place where torchmetrics computes them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.num_features = width

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features


def frechet_distance(real: torch.Tensor, generated: torch.Tensor) -> float:
    """Fréchet distance (Heusel et al. 2017, arXiv 1706.08500, eq. 6) of features (n, width) and (m, width)."""
    from torchmetrics.image.fid import FrechetInceptionDistance

    metric = FrechetInceptionDistance(feature=_Given(real.shape[1]))
    metric.update(real, real=True)
    metric.update(generated, real=False)
    return float(metric.compute())


def kernel_distance(real: torch.Tensor, generated: torch.Tensor, *, seed: int = 0) -> tuple[float, float]:
    """Kernel distance (Binkowski et al. 2018, arXiv 1801.01401), cubic kernel: mean and deviation over subsets.

    Raises:
        ValueError: one of the sets is empty.
    """
    from torchmetrics.image.kid import KernelInceptionDistance

    size = min(_SUBSET, len(real), len(generated))
    if not size:
        raise ValueError("a distance needs pictures on both sides")
    metric = KernelInceptionDistance(feature=_Given(real.shape[1]), subsets=_SUBSETS, subset_size=size)
    metric.update(real, real=True)
    metric.update(generated, real=False)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        mean, deviation = metric.compute()
    return float(mean), float(deviation)
