"""Makes SPMs for one base by whatever method their recipes name, and shares between them what can be shared.

Invariant: recipes of one list that have the same anchors read them once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

from safegen.models import TrainableModel
from safegen.training.loop import train
from safegen.training.recipe import Recipe
from safegen.training.result import Trained, write_result
from safegen.training.run import Report
from safegen.training.solve import Solution, Solver

Extra = Callable[[Recipe], Mapping[str, object]]


class Trainer:
    """Solves or trains recipes on one base.

    Args:
        base: the model; it is only read.
        extra: further metadata for a recipe's file, e.g. the calibration of its gate.
    """

    def __init__(self, base: TrainableModel, *, extra: Extra | None = None) -> None:
        self._base, self._extra = base, extra
        self._solvers: dict[tuple[str, ...], Solver] = {}

    def train(self, recipe: Recipe, folder: Path, *, report: Report | None = None) -> Trained:
        """Make the SPM of a recipe and write its file into the folder.

        Raises:
            TrainingError: it cannot be made; see `solve.Solver.solve` and `loop.train`.
        """
        extra = self._extra(recipe) if self._extra else {}
        if recipe.method != "closed-form":
            start = self.solve(recipe) if recipe.start == "closed-form" else None
            return train(recipe, self._base, folder, report=report, extra=extra, start=start)
        began = time.monotonic()
        solution = self.solve(recipe)
        left = 1 - solution.reached
        return write_result(
            recipe,
            self._base,
            folder,
            solution.membranes,
            (left, solution.drift),
            time.monotonic() - began,
            eta=recipe.eta or 0.0,
            anchor_weight=solution.anchor_weight,
            extra={"drift": f"{solution.drift:.4f}", "reached": f"{solution.reached:.4f}", **extra},
        )

    def solve(self, recipe: Recipe) -> Solution:
        """Solve a recipe without writing anything."""
        return self._solver(recipe).solve(
            recipe.pairs(),
            names_concept=recipe.names_concept,
            rank=recipe.rank,
            alpha=recipe.alpha,
            eta=recipe.eta or 0.0,
            drift=recipe.drift,
        )

    def neighbours(self, recipe: Recipe, count: int = 3) -> list[str]:
        """The prompts nearest to the recipe's targets among its neighbours, nearest first."""
        targets = [target for target, _ in recipe.pairs()]
        return self._solver(recipe).nearest(targets, recipe.neighbour_prompts(), count)

    def _solver(self, recipe: Recipe) -> Solver:
        vocabulary = recipe.vocabulary()
        if vocabulary not in self._solvers:
            self._solvers[vocabulary] = Solver(self._base, vocabulary)
        return self._solvers[vocabulary]
