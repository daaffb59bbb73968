"""The two losses of arXiv 2312.16145, on predictions of the denoiser.

The equations speak of epsilon. For a v-predicting model the same differences are taken between velocities: at a given
(x_t, t) epsilon is an affine function of v with slope sqrt(alpha_bar_t), so the zero of each loss is the same, only the
weight of a time step differs, and the step of zero SNR, where epsilon says nothing, keeps a meaning.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F


def erasing_goal(target: torch.Tensor, surrogate: torch.Tensor, eta: float) -> torch.Tensor:
    """What the open membrane should predict for the target: surrogate - eta * (target - surrogate).

    Args:
        target: the bare model's prediction for the target, (batch, ...).
        surrogate: the bare model's prediction for the surrogate, (batch, ...).
        eta: strength of the push away from the target, >= 0.

    Source: Eq. 4, solved for the erased prediction.
    """
    return surrogate - eta * (target - surrogate)


def erasing_loss(erased: torch.Tensor, target: torch.Tensor, surrogate: torch.Tensor, eta: float) -> torch.Tensor:
    """Mean square of erased - surrogate + eta * (target - surrogate); a scalar. Source: Eq. 4."""
    return F.mse_loss(erased, erasing_goal(target, surrogate, eta))


def anchoring_loss(anchored: torch.Tensor, bare: torch.Tensor) -> torch.Tensor:
    """Mean square of what the open membrane changes at the anchors; a scalar. Source: Eq. 7."""
    return F.mse_loss(anchored, bare)


def anchor_probabilities(targets: torch.Tensor, anchors: torch.Tensor, alpha: float) -> torch.Tensor:
    """P(anchor | target), proportional to (1 - |cos|)^alpha.

    Args:
        targets: (targets, tokens, width) text states.
        anchors: (anchors, tokens, width) text states.
        alpha: 0 makes all anchors equally likely; the larger, the rarer what is similar to the target.

    Returns:
        (targets, anchors), each row summing to 1.

    Source: Eq. 6, over the flattened states.
    """
    left, right = F.normalize(targets.flatten(1), dim=-1), F.normalize(anchors.flatten(1), dim=-1)
    weights = (1 - (left @ right.T).abs()).clamp(min=1e-6) ** alpha
    return weights / weights.sum(1, keepdim=True)
