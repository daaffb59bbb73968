"""The linear algebra behind the closed form."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from safegen.training.reduced_rank import Regression, solve_at, within_budget

WIDTH = 6


def problem(
    seed: int, layers: int = 2, width: int = WIDTH
) -> tuple[Regression, torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    x, d, a = random(9, width), random(9, width), random(12, width)
    weights = [random(5 + layer, width) for layer in range(layers)]
    moments = (x.T @ x / 9, d.T @ x / 9, d.T @ d / 9, a.T @ a / 12)
    return Regression(weights, *moments), x, d, a


def loss(layer: torch.Tensor, update: torch.Tensor, x: torch.Tensor, d: torch.Tensor, a: torch.Tensor) -> float:
    missed = (x @ update.T - d @ layer.T).square().sum(1).mean()
    return float(missed + 0.3 * (a @ update.T).square().sum(1).mean())


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 3))
def test_no_update_of_that_rank_is_better(seed: int, rank: int) -> None:
    """Nudging either factor of a solution in any direction never lowers the loss that it minimises."""
    regression, x, d, a = problem(seed)
    fit = solve_at(regression, 0.3, rank)
    generator = torch.Generator().manual_seed(seed)
    for layer, (left, right) in zip(regression.weights, fit.factors, strict=True):
        best = loss(layer, left @ right, x, d, a)
        for size in (1e-3, 1e-1, 1.0):
            moved = [
                part + size * torch.randn(part.shape, generator=generator, dtype=torch.float64)
                for part in (left, right)
            ]
            assert loss(layer, moved[0] @ moved[1], x, d, a) >= best - 1e-5 * abs(best)


def test_full_rank_is_ridge_regression() -> None:
    """Without a limit on the rank, the solution is W D C^-1."""
    regression, *_ = problem(1)
    fit = solve_at(regression, 0.3, WIDTH)
    moment = regression.inputs + 0.3 * regression.anchors
    for layer, (left, right) in zip(regression.weights, fit.factors, strict=True):
        expected = layer @ regression.wanted @ torch.linalg.inv(moment)
        torch.testing.assert_close(left @ right, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("rank", [1, 3])
def test_the_update_is_that_of_a_dense_singular_value_decomposition(rank: int) -> None:
    """Where Lanczos' method has to iterate, M L is the best approximation of W D L^-T; twice, bit for bit."""
    regression, *_ = problem(4, width=80)
    fit, again = solve_at(regression, 0.3, rank), solve_at(regression, 0.3, rank)
    ridge = 1e-6 * float(regression.anchors.trace() + regression.inputs.trace()) / 80
    moment = regression.inputs + 0.3 * regression.anchors + ridge * torch.eye(80, dtype=torch.float64)
    lower = torch.linalg.cholesky(moment)
    for number, layer in enumerate(regression.weights):
        left, right = fit.factors[number]
        goal = layer @ regression.wanted @ torch.linalg.inv(lower).T
        first, sizes, last = torch.linalg.svd(goal, full_matrices=False)
        best = (first[:, :rank] * sizes[:rank]) @ last[:rank]
        torch.testing.assert_close(left @ right @ lower, best, rtol=1e-6, atol=1e-6 * float(sizes[0]))
        assert all(one.equal(two) for one, two in zip(fit.factors[number], again.factors[number], strict=True))


def test_a_layer_of_zeros_is_left_as_it_is() -> None:
    """Nothing can be read through it, so nothing is changed, and the other layers are solved as ever."""
    regression, *_ = problem(5, width=80)
    zeros = replace(regression, weights=[torch.zeros_like(regression.weights[0]), regression.weights[1]])
    first, second = solve_at(zeros, 0.3, 2).factors
    assert not (first[0] @ first[1]).any()
    torch.testing.assert_close(second[0] @ second[1], torch.matmul(*solve_at(regression, 0.3, 2).factors[1]))


def test_what_a_fit_says_of_itself_is_so() -> None:
    """Drift and reached share equal what is computed from the states themselves."""
    regression, x, d, a = problem(2)
    fit = solve_at(regression, 0.3, 1)
    updates = [left @ right for left, right in fit.factors]
    pairs = list(zip(regression.weights, updates, strict=True))
    drift = sum((a @ update.T).square().sum() / (a @ layer.T).square().sum() for layer, update in pairs) / 2
    missed = sum((x @ update.T - d @ layer.T).square().sum() for layer, update in pairs)
    assert fit.drift == pytest.approx(float(drift) ** 0.5)
    assert fit.reached == pytest.approx(1 - float(missed / sum((d @ layer.T).square().sum() for layer, _ in pairs)))


@pytest.mark.parametrize("budget", [0.3, 0.1, 0.01])
def test_the_budget_is_used_and_kept(budget: float) -> None:
    """The drift is at most the budget, and close to it, since less anchoring erases more."""
    fit = within_budget(problem(3)[0], 1, budget)
    assert 0.95 * budget < fit.drift <= budget
