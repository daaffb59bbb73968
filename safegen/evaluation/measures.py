"""The field's metrics as torchmetrics modules: what is recognised, what CLIP says, how far pixels moved.

Each takes batches with `update` and answers with `compute`. Invariant: a metric over nothing is NaN, never 0 or 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch.nn import functional as F
from torchmetrics import Metric

if TYPE_CHECKING:
    from PIL.Image import Image

_WINDOW = 7


class Clip(Protocol):
    """A CLIP: pictures and texts in one space, normalised."""

    def embed_images(self, images: Sequence[Image]) -> torch.Tensor:
        """(images, width)."""

    def embed_texts(self, texts: Sequence[str]) -> torch.Tensor:
        """(texts, width)."""


class Share(Metric):
    """The share of trials that hit: recognition, unlearning accuracy, retain accuracy, bit-identity."""

    full_state_update = False
    hits: torch.Tensor
    trials: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("hits", torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("trials", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, hits: Sequence[bool]) -> None:
        """Count a batch."""
        self.hits += sum(hits)
        self.trials += len(hits)

    def compute(self) -> torch.Tensor:
        """Hits over trials, 0..1."""
        return self.hits / self.trials


class ClipScore(Metric):
    """CLIP score: 100 times the cosine of picture and text, at least 0 (Hessel et al. 2021, without their 2.5)."""

    full_state_update = False
    total: torch.Tensor
    count: torch.Tensor

    def __init__(self, clip: Clip) -> None:
        super().__init__()
        self.clip = clip
        self.add_state("total", torch.tensor(0.0), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, images: Sequence[Image], texts: Sequence[str]) -> None:
        """Compare each picture with its text."""
        cosines = (self.clip.embed_images(images) * self.clip.embed_texts(texts)).sum(1)
        self.total += 100 * cosines.clamp(min=0).sum()
        self.count += len(images)

    def compute(self) -> torch.Tensor:
        """The mean, 0..100."""
        return self.total / self.count


class ClipErrorRate(Share):
    """CLIP error rate: how often a picture is nearer to the surrogate ("" by default) than to the concept.

    Source: arXiv 2312.16145, section 4.1 and the released code: the bare names are compared, not a sentence.
    """

    def __init__(self, clip: Clip, concept: str, surrogate: str = "") -> None:
        super().__init__()
        self._texts = clip.embed_texts([concept, surrogate])
        self._clip = clip

    def update(self, images: Sequence[Image]) -> None:  # type: ignore[override]
        """Count pictures nearer to the surrogate."""
        cosines = self._clip.embed_images(images) @ self._texts.T
        super().update((cosines[:, 1] > cosines[:, 0]).tolist())


class Similarity(Metric):
    """Mean SSIM over pairs of pictures, 1 for equal ones (Wang et al. 2004, 7 x 7 windows, all channels)."""

    full_state_update = False
    total: torch.Tensor
    count: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.tensor(0.0), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, left: Sequence[Image], right: Sequence[Image]) -> None:
        """Compare pictures pairwise."""
        self.total += similarities(left, right).sum()
        self.count += len(left)

    def compute(self) -> torch.Tensor:
        """The mean, -1..1."""
        return self.total / self.count


def similarities(left: Sequence[Image], right: Sequence[Image]) -> torch.Tensor:
    """SSIM of each pair, (pairs,)."""
    a, b = (torch.stack([_tensor(picture) for picture in pictures]) for pictures in (left, right))
    mean_a, mean_b = F.avg_pool2d(a, _WINDOW, 1), F.avg_pool2d(b, _WINDOW, 1)
    var_a = F.avg_pool2d(a * a, _WINDOW, 1) - mean_a**2
    var_b = F.avg_pool2d(b * b, _WINDOW, 1) - mean_b**2
    both = F.avg_pool2d(a * b, _WINDOW, 1) - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    value = (2 * mean_a * mean_b + c1) * (2 * both + c2) / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
    return value.mean((1, 2, 3))


def identical(left: Sequence[Image], right: Sequence[Image]) -> list[bool]:
    """Whether each pair is equal, bit for bit."""
    return [np.array_equal(np.asarray(a), np.asarray(b)) for a, b in zip(left, right, strict=True)]


def _tensor(picture: Image) -> torch.Tensor:
    return torch.from_numpy(np.asarray(picture.convert("RGB"), dtype=np.float32) / 255).permute(2, 0, 1)
