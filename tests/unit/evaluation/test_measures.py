"""Metrics on pictures that are easy to reason about."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from PIL import Image

from safegen.evaluation.measures import ClipErrorRate, ClipScore, Share, Similarity, identical, similarities


def picture(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (32, 32, 3), dtype=np.uint8))


class Axes:
    """A CLIP whose pictures of width w and whose texts of length w lie on axis w."""

    def embed_images(self, images: Sequence[Image.Image]) -> torch.Tensor:
        return torch.eye(5)[[image.width for image in images]]

    def embed_texts(self, texts: Sequence[str]) -> torch.Tensor:
        return torch.eye(5)[[len(text) for text in texts]]


def test_a_share_counts_over_batches() -> None:
    """2 of 3 and 0 of 1 are a half."""
    share = Share()
    share.update([True, True, False])
    share.update([False])
    assert float(share.compute()) == 0.5


def test_a_share_of_nothing_is_not_a_number() -> None:
    """Neither 0 nor 1."""
    assert torch.isnan(Share().compute())


def test_the_clip_score_is_100_for_agreement_and_0_for_none() -> None:
    """The mean over both is 50."""
    metric = ClipScore(Axes())
    metric.update([Image.new("RGB", (3, 3)), Image.new("RGB", (2, 2))], ["cat", "cat"])
    assert float(metric.compute()) == 50


def test_the_clip_error_rate_counts_pictures_nearer_to_the_surrogate() -> None:
    """A picture on the concept's axis is none, one on that of "" is, one on neither is none."""
    metric = ClipErrorRate(Axes(), "cat", "")
    metric.update([Image.new("RGB", (3, 3))])
    assert float(metric.compute()) == 0
    metric = ClipErrorRate(Axes(), "cat", "c")
    metric.update([Image.new("RGB", (size, size)) for size in (1, 3, 2, 4)])
    assert float(metric.compute()) == 0.25


def test_equal_pictures_have_a_similarity_of_1_and_noise_has_next_to_none() -> None:
    """SSIM."""
    values = similarities([picture(1), picture(1)], [picture(1), picture(2)])
    assert values.tolist() == [pytest.approx(1.0), pytest.approx(0.0, abs=0.1)]
    metric = Similarity()
    metric.update([picture(1)], [picture(1)])
    assert float(metric.compute()) == pytest.approx(1.0)


def test_one_different_bit_is_a_difference() -> None:
    """Bit-identity is no matter of degree."""
    changed = picture(1)
    changed.putpixel((0, 0), tuple(value ^ 1 for value in changed.getpixel((0, 0))))  # type: ignore[union-attr,arg-type]
    assert identical([picture(1), picture(1)], [picture(1), changed]) == [True, False]
