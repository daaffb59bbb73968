"""The two losses of arXiv 2312.16145, and how anchors are drawn: pure functions on tensors.

The equations speak of epsilon. For a v-predicting model the same differences are taken between velocities. At a given
(x_t, t), epsilon = sqrt(a) v + sqrt(1 - a) x_t, with a the share of signal, alpha_bar_t; both losses hold differences
only, whose coefficients sum to 0, so x_t cancels and L(epsilon) = a L(v): the same zero, another weight for each time
step. At zero SNR, a = 0, where epsilon is x_t itself and teaches nothing, velocity keeps its meaning.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F

_EMPTY_SHARE = 0.25


def erasing_goal(target: torch.Tensor, surrogate: torch.Tensor, eta: float) -> torch.Tensor:
    """What the model with open membranes should predict for the target: surrogate - eta * (target - surrogate).

    Args:
        target: the bare model's prediction for the target, (batch, ...).
        surrogate: the bare model's prediction for the surrogate, (batch, ...).
        eta: strength of the push away from the target, >= 0.

    Source: arXiv 2312.16145, Eq. 4, solved for the erased prediction.
    """
    return surrogate - eta * (target - surrogate)


def erasing_loss(erased: torch.Tensor, target: torch.Tensor, surrogate: torch.Tensor, eta: float) -> torch.Tensor:
    """Mean square of erased - surrogate + eta * (target - surrogate), a scalar.

    Args:
        erased: the prediction for the target with open membranes, (batch, ...).
        target: the bare model's prediction for the target, (batch, ...).
        surrogate: the bare model's prediction for the surrogate, (batch, ...).
        eta: strength of the push away from the target, >= 0.

    Source: arXiv 2312.16145, Eq. 4; the mean over all values, as the released code takes it, not their sum.
    """
    return F.mse_loss(erased, erasing_goal(target, surrogate, eta))


def anchoring_loss(anchored: torch.Tensor, bare: torch.Tensor) -> torch.Tensor:
    """Mean square of what the open membranes change at the anchors, a scalar.

    Args:
        anchored: predictions for the anchors with open membranes, (batch, ...).
        bare: the bare model's predictions for them, (batch, ...).

    Source: arXiv 2312.16145, Eq. 7.
    """
    return F.mse_loss(anchored, bare)


def anchor_probabilities(targets: torch.Tensor, anchors: torch.Tensor, alpha: float) -> torch.Tensor:
    """P(anchor | target), proportional to (1 - |cos(anchor, target)|)^alpha.

    Args:
        targets: (targets, tokens, width) text states.
        anchors: (anchors, tokens, width) text states.
        alpha: 0 makes all anchors equally likely; the larger, the rarer what is similar to the target.

    Returns:
        (targets, anchors), each row summing to 1.

    Source: arXiv 2312.16145, Eq. 6, over the flattened states, here of real prompts.
    """
    left, right = F.normalize(targets.flatten(1), dim=-1), F.normalize(anchors.flatten(1), dim=-1)
    weights = (1 - (left @ right.T).abs()).clamp(min=1e-6) ** alpha
    return weights / weights.sum(1, keepdim=True)


def with_empty_anchor(probabilities: torch.Tensor) -> torch.Tensor:
    """Put the empty prompt before the anchors, with a quarter of the probability, whatever the others are.

    Guidance runs the empty prompt at every step of every image, so it must not be left to chance among hundreds.

    Args:
        probabilities: (targets, anchors), rows summing to 1; no columns if there are no other anchors.

    Returns:
        (targets, 1 + anchors), rows summing to 1.
    """
    share = _EMPTY_SHARE if probabilities.shape[1] else 1.0
    empty = torch.full((len(probabilities), 1), share, device=probabilities.device)
    return torch.cat([empty, probabilities * (1 - share)], dim=1)
