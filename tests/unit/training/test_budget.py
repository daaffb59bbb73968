"""The loop's preservation budget, on a tiny denoiser with random weights."""

from __future__ import annotations

from pathlib import Path

import pytest

from safegen.models import TrainableModel
from safegen.spm import read_spm
from safegen.training.budget import AnchorBudget
from safegen.training.loop import train
from safegen.training.recipe import Recipe
from safegen.training.run import Progress


def test_the_weight_grows_over_the_budget_and_falls_under_it() -> None:
    """By a factor each time, whatever the scale."""
    for scale in (1e-3, 1.0):
        over, under = (AnchorBudget(scale, 10.0) for _ in range(2))
        for _ in range(30):
            over.observe((2 * scale) ** 2)
            under.observe((0.5 * scale) ** 2)
        assert over.weight > 50
        assert under.weight < 2


def test_the_weight_settles_where_the_budget_is_met() -> None:
    """On a system whose drift falls as the weight grows, the drift ends at the limit."""
    budget = AnchorBudget(0.02, 10.0)
    for _ in range(2000):
        budget.observe(0.5 / (1 + budget.weight) ** 2)
    assert 0.5**0.5 / (1 + budget.weight) == pytest.approx(0.02, rel=0.05)


@pytest.mark.parametrize("limit", [0.01, 0.1])
def test_a_trained_spm_keeps_its_budget(base: TrainableModel, recipe: Recipe, tmp_path: Path, limit: float) -> None:
    """What is written keeps the drift within the limit, states it, and uses at least a third of it."""
    weights: list[float] = []
    asked = recipe.model_copy(update={"anchor_weight": "budget", "drift": limit, "steps": 40, "rate": 2e-2})
    trained = train(asked, base, tmp_path, report=lambda now: weights.append(now.anchor_weight))
    stated = read_spm(trained.path).metadata
    assert float(stated["drift"]) <= limit
    assert float(stated["drift"]) > 0.3 * limit
    assert float(stated["lambda"]) == pytest.approx(weights[-1], rel=1e-4)
    assert len(set(weights)) > 30


def test_a_run_with_a_budget_resumes_bit_for_bit(base: TrainableModel, recipe: Recipe, tmp_path: Path) -> None:
    """The multiplier is part of the checkpoint: killed and gone on, the values are those of the unbroken run."""

    def kill(progress: Progress) -> None:
        if progress.done == 5:
            raise SystemExit

    asked = recipe.model_copy(update={"anchor_weight": "budget", "drift": 0.01, "rate": 1e-2})
    whole = train(asked, base, tmp_path / "whole")
    with pytest.raises(SystemExit):
        train(asked, base, tmp_path / "broken", report=kill, save_seconds=0)
    resumed = train(asked, base, tmp_path / "broken")
    first, second = read_spm(whole.path), read_spm(resumed.path)
    assert first.metadata["lambda"] == second.metadata["lambda"]
    assert all(first.layers[name][1].equal(second.layers[name][1]) for name in first.layers)


def test_without_a_budget_nothing_is_measured_or_weakened(base: TrainableModel, recipe: Recipe, tmp_path: Path) -> None:
    """A weight set by hand stays what it is, and no drift is stated."""
    weights: list[float] = []
    trained = train(recipe, base, tmp_path, report=lambda now: weights.append(now.anchor_weight))
    assert set(weights) == {10.0}
    assert "drift" not in read_spm(trained.path).metadata
