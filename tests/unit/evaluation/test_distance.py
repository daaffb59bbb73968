"""FID and KID from given features."""

from __future__ import annotations

import pytest
import torch

from safegen.evaluation.distance import frechet_distance, kernel_distance

WIDTH = 6


def features(count: int, *, shift: float = 0.0, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, WIDTH, generator=torch.Generator().manual_seed(seed)) + shift


def test_a_set_has_no_frechet_distance_to_itself() -> None:
    """The same features twice."""
    assert frechet_distance(features(500), features(500)) == pytest.approx(0, abs=1e-3)


def test_shifted_gaussians_lie_the_squared_shift_apart() -> None:
    """Equal covariances leave the squared distance of the means: 6 dimensions of 0.5 each."""
    assert frechet_distance(features(4000), features(4000, shift=0.5)) == pytest.approx(WIDTH * 0.25, rel=0.02)


def test_kernel_distance_tells_other_features_from_more_of_the_same() -> None:
    """Two draws of one distribution lie near 0, a shifted one far from it."""
    near, spread = kernel_distance(features(600), features(600, seed=1))
    far, _ = kernel_distance(features(600), features(600, shift=1.0))
    assert abs(near) < 0.05
    assert far > 0.5
    assert spread > 0


def test_kernel_distance_is_repeatable_and_leaves_the_global_random_state_alone() -> None:
    """Subsets are drawn from the given seed."""
    state = torch.get_rng_state()
    first = kernel_distance(features(600), features(500, shift=0.2), seed=3)
    assert first == kernel_distance(features(600), features(500, shift=0.2), seed=3)
    assert torch.equal(state, torch.get_rng_state())


def test_an_empty_set_has_no_distance() -> None:
    """Said plainly instead of NaN."""
    with pytest.raises(ValueError, match="both sides"):
        kernel_distance(features(10), features(0))
