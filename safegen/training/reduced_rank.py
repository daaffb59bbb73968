"""Reduced-rank ridge regression with a budget on what it may change elsewhere: linear algebra alone.

For each layer's weight W (out, in):

    min over rank M <= r of    E_x ||M x - W d||^2 + lambda E_a ||M a||^2 + epsilon ||M||^2.

With C = E[x x^T] + lambda E[a a^T] + epsilon I = L L^T (Cholesky) and D = E[d x^T] this is ||M L - W D L^-T||_F^2
plus a constant, so by Eckart and Young M L is the truncated singular value decomposition U S V^T of W D L^-T. C, L and
D are the same for all layers. The change elsewhere, `drift`, falls as lambda grows; bisection finds the least lambda
that keeps it within the budget.

Source: Izenman, Reduced-rank regression for the multivariate linear model, J. Multivariate Analysis 5 (1975).
Invariant: all in float64, and the same input gives the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

_RIDGE = 1e-6
"""epsilon, as a share of the anchors' mean square."""
_LEAST, _MOST = -6.0, 9.0
"""Where lambda is looked for, as powers of ten."""
_HALVINGS = 16
_OVERSAMPLING, _POWERS = 8, 8


@dataclass(frozen=True)
class Regression:
    """What is to be solved.

    Attributes:
        weights: W of each layer, (out, in).
        inputs: E[x x^T], (in, in).
        wanted: D = E[d x^T], (in, in).
        wanted_square: E[d d^T], (in, in).
        anchors: E[a a^T], (in, in).
    """

    weights: Sequence[torch.Tensor]
    inputs: torch.Tensor
    wanted: torch.Tensor
    wanted_square: torch.Tensor
    anchors: torch.Tensor


@dataclass(frozen=True)
class Fit:
    """The best updates at one lambda.

    Attributes:
        factors: for each layer (left (out, r), right (r, in)), whose product is M.
        weight: lambda.
        drift: sqrt(mean over layers of E_a ||M a||^2 / E_a ||W a||^2).
        reached: 1 - sum over layers of E_x ||M x - W d||^2 / sum of E_x ||W d||^2, at most 1.
    """

    factors: tuple[tuple[torch.Tensor, torch.Tensor], ...]
    weight: float
    drift: float
    reached: float


def solve_at(problem: Regression, weight: float, rank: int) -> Fit:
    """The best updates of that rank at one lambda."""
    width = len(problem.anchors)
    ridge = _RIDGE * float(problem.anchors.trace() + problem.inputs.trace()) / width
    moment = problem.inputs + weight * problem.anchors + ridge * torch.eye(width, dtype=torch.float64)
    lower = torch.linalg.cholesky(moment)
    goal = torch.linalg.solve_triangular(lower, problem.wanted.T, upper=False).T
    factors = []
    for layer in problem.weights:
        left, values, right = leading(layer @ goal, rank)
        factors.append((left * values, torch.linalg.solve_triangular(lower.T, right.T, upper=True).T))
    return Fit(tuple(factors), weight, _drift(problem, factors), _reached(problem, factors))


def within_budget(problem: Regression, rank: int, budget: float) -> Fit:
    """The fit at the least lambda whose drift is within the budget; its `drift` tells if even the greatest fails."""
    least, most = _LEAST, _MOST
    best = solve_at(problem, 10**most, rank)
    for _ in range(_HALVINGS):
        middle = (least + most) / 2
        fit = solve_at(problem, 10**middle, rank)
        if fit.drift > budget:
            least = middle
        else:
            most, best = middle, fit
    return best


def leading(matrix: torch.Tensor, rank: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The `rank` largest singular triplets (left (out, r), values (r), right (r, in)), by a seeded random projection.

    Source: Halko, Martinsson and Tropp, SIAM Review 53 (2011), with power iterations; it costs a few products with the
    matrix where the whole decomposition would cost a minute for the projections of Stable Diffusion.
    """
    size = min(rank + _OVERSAMPLING, *matrix.shape)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        left, values, right = torch.svd_lowrank(matrix, q=size, niter=_POWERS)
    return left[:, :rank], values[:rank], right[:, :rank].T


def _quadratic(matrix: torch.Tensor, moment: torch.Tensor) -> torch.Tensor:
    """trace(matrix moment matrix^T)."""
    return ((matrix @ moment) * matrix).sum()


def _drift(problem: Regression, factors: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> float:
    shares = [
        _quadratic(left @ right, problem.anchors) / _quadratic(layer, problem.anchors)
        for layer, (left, right) in zip(problem.weights, factors, strict=True)
    ]
    return float(torch.stack(shares).mean().sqrt())


def _reached(problem: Regression, factors: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> float:
    missed = wanted = 0.0
    for layer, (left, right) in zip(problem.weights, factors, strict=True):
        update = left @ right
        goal = _quadratic(layer, problem.wanted_square)
        missed += float(_quadratic(update, problem.inputs) - 2 * ((layer @ problem.wanted) * update).sum() + goal)
        wanted += float(goal)
    return 1 - missed / wanted
