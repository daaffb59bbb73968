"""Reduced-rank ridge regression with a budget on what it may change elsewhere: linear algebra alone.

For each layer's weight W (out, in):

    min over rank M <= r of    E_x ||M x - W d||^2 + lambda E_a ||M a||^2 + epsilon ||M||^2.

With C = E[x x^T] + lambda E[a a^T] + epsilon I = L L^T (Cholesky), D = E[d x^T] and G = W D L^-T this is
||M L - G||_F^2 plus a constant. By Eckart and Young, M L = G V V^T with V the r leading eigenvectors of G^T G, so that
M = (W D L^-T V) (V^T L^-1). C, L, D L^-T and W^T W are the same for all layers or all lambda. G^T G is never formed:
Lanczos' method finds its r leading eigenvectors from products with vectors, and what a fit says of itself is read off
its factors, so that a layer costs O(in^2) at each lambda. The change elsewhere, `drift`, falls as lambda grows; a root
search finds the least lambda that keeps it within the budget.

Source: Izenman, Reduced-rank regression for the multivariate linear model, J. Multivariate Analysis 5 (1975).
Invariant: all in float64, and the same input gives the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from scipy.optimize import brentq
from scipy.sparse.linalg import ArpackError, LinearOperator, eigsh

_RIDGE = 1e-6
"""epsilon, as a share of the mean square of inputs and anchors."""
_LEAST, _MOST = -6.0, 9.0
"""Where lambda is looked for, as powers of ten."""
_CLOSE = 0.01
"""How close to the root the search ends, in powers of ten."""


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

    @cached_property
    def squares(self) -> torch.Tensor:
        """W^T W of each layer, (layers, in, in)."""
        return torch.stack([layer.T @ layer for layer in self.weights])


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
    vectors = torch.stack([_leading(goal, square, rank) for square in problem.squares])
    rights = torch.linalg.solve_triangular(lower.T, vectors, upper=True).mT
    lefts = goal @ vectors
    factors = tuple((layer @ left, right) for layer, left, right in zip(problem.weights, lefts, rights, strict=True))
    return Fit(factors, weight, _drift(problem, factors), _reached(problem, factors))


def within_budget(problem: Regression, rank: int, budget: float) -> Fit:
    """The fit at the least lambda whose drift is within the budget; its `drift` tells if even the greatest fails."""
    tried: list[Fit] = []

    def excess(power: float) -> float:
        tried.append(solve_at(problem, 10**power, rank))
        return math.log(max(tried[-1].drift, 1e-300) / budget)

    if excess(_MOST) < 0 < excess(_LEAST):
        root = brentq(excess, _LEAST, _MOST, xtol=_CLOSE)
        if excess(root) > 0:
            excess(root + 2 * _CLOSE)
    kept = [fit for fit in tried if fit.drift <= budget]
    return min(kept, key=lambda fit: fit.weight) if kept else tried[0]


def _leading(goal: torch.Tensor, square: torch.Tensor, rank: int) -> torch.Tensor:
    """The eigenvectors (in, r) of goal^T square goal with the r largest eigenvalues."""
    width = len(square)
    left, middle = goal.numpy(), square.numpy()
    product = LinearOperator((width, width), matvec=lambda v: left.T @ (middle @ (left @ v)), dtype=np.float64)
    # Both give eigenvalues in ascending order. Lanczos' method is for a few of many, and fails on a matrix of zeros.
    if 2 * rank < width:
        with suppress(ArpackError):
            return torch.from_numpy(eigsh(product, rank, v0=np.ones(width))[1])
    return torch.from_numpy(np.linalg.eigh(left.T @ middle @ left)[1][:, -rank:].copy())


def _drift(problem: Regression, factors: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> float:
    shares = [
        ((left.T @ left) * (right @ problem.anchors @ right.T)).sum() / (square * problem.anchors).sum()
        for square, (left, right) in zip(problem.squares, factors, strict=True)
    ]
    return float(torch.stack(shares).mean().sqrt())


def _reached(problem: Regression, factors: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> float:
    missed = wanted = 0.0
    for layer, square, (left, right) in zip(problem.weights, problem.squares, factors, strict=True):
        goal = float((square * problem.wanted_square).sum())
        own = ((left.T @ left) * (right @ problem.inputs @ right.T)).sum()
        shared = ((layer.T @ left) * (problem.wanted @ right.T)).sum()
        missed += float(own - 2 * shared) + goal
        wanted += goal
    return 1 - missed / wanted
