"""The losses and the anchors' distribution, against values worked out by hand."""

from __future__ import annotations

import pytest
import torch

from safegen.training.losses import anchor_probabilities, anchoring_loss, erasing_loss, with_empty_anchor


@pytest.mark.parametrize(("eta", "expected"), [(0.0, 2.5), (1.0, 12.5), (3.0, 62.5)])
def test_erasing_loss(eta: float, expected: float) -> None:
    """Eq. 4: with erased (1, 2), target (3, 1), surrogate (0, 0) the residual is (1 + 3 eta, 2 + eta)."""
    loss = erasing_loss(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 1.0]]), torch.zeros(1, 2), eta)
    assert float(loss) == expected


def test_erasing_loss_is_zero_at_its_goal() -> None:
    """A model that predicts the surrogate pushed away from the target has no erasing loss."""
    target, surrogate = torch.tensor([[3.0, 1.0]]), torch.tensor([[1.0, 1.0]])
    assert float(erasing_loss(torch.tensor([[-1.0, 1.0]]), target, surrogate, 1.0)) == 0


def test_losses_of_velocity_and_epsilon_differ_by_the_share_of_signal() -> None:
    """At given (x_t, t) the loss on epsilon is alpha_bar times the loss on velocity."""
    share, noisy = 0.3, torch.randn(2, 5)
    velocities = [torch.randn(2, 5) for _ in range(3)]
    epsilons = [share**0.5 * v + (1 - share) ** 0.5 * noisy for v in velocities]
    assert float(erasing_loss(*epsilons, 2.0)) == pytest.approx(share * float(erasing_loss(*velocities, 2.0)), rel=1e-4)


def test_anchoring_loss() -> None:
    """Eq. 7: the mean square of what the membranes change."""
    assert float(anchoring_loss(torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 0.0]]))) == 2


def test_anchor_probabilities() -> None:
    """Eq. 6: an orthogonal anchor weighs 1, one at 60 degrees (1/2)^alpha, an opposite one nothing to speak of."""
    target = torch.tensor([[[1.0, 0.0]]])
    anchors = torch.tensor([[[0.0, 2.0]], [[0.5, 0.75**0.5]], [[-1.0, 0.0]]])
    found = anchor_probabilities(target, anchors, 2.0)
    torch.testing.assert_close(found, torch.tensor([[0.8, 0.2, 0.0]]), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(anchor_probabilities(target, anchors, 0.0), torch.full((1, 3), 1 / 3))


def test_the_empty_anchor_has_a_quarter() -> None:
    """The empty prompt is a quarter of the anchors, however many the others are, and all if there are none."""
    torch.testing.assert_close(with_empty_anchor(torch.tensor([[0.5, 0.5]])), torch.tensor([[0.25, 0.375, 0.375]]))
    assert with_empty_anchor(torch.zeros(2, 0)).tolist() == [[1.0], [1.0]]
