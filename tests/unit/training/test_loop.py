"""The training loop, on a tiny denoiser with random weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from safegen.errors import TrainingError
from safegen.models import TrainableModel
from safegen.spm import MembraneSet, read_spm
from safegen.training.loop import Progress, train
from safegen.training.recipe import Recipe
from safegen.training.result import checkpoint_path, finished


def tensors(path: Path) -> dict[str, torch.Tensor]:
    layers = read_spm(path).layers
    return {f"{name}/{part}": layer[part] for name, layer in layers.items() for part in (0, 1)}


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def stop_at(update: int, error: type[BaseException]):
    def report(progress: Progress) -> None:
        if progress.done == update:
            raise error

    return report


@pytest.mark.parametrize("update", [1, 3, 4, 6])
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_a_resumed_run_equals_an_unbroken_one(
    base: TrainableModel, recipe: Recipe, tmp_path: Path, update: int, error: type[BaseException]
) -> None:
    """Interrupted or killed at any update and started again, a run gives the unbroken run's values bit for bit."""
    whole = train(recipe, base, tmp_path / "whole")
    with pytest.raises(error):
        train(recipe, base, tmp_path / "broken", report=stop_at(update, error), save_seconds=0)
    torch.rand(3)
    seen: list[int] = []
    resumed = train(recipe, base, tmp_path / "broken", report=lambda progress: seen.append(progress.done))
    assert seen[0] == (update - 1) // 2 * 2 + 1
    assert same(tensors(whole.path), tensors(resumed.path))
    assert (whole.erasing, whole.anchoring) == (resumed.erasing, resumed.anchoring)


def test_the_base_is_left_as_found(base: TrainableModel, recipe: Recipe, tmp_path: Path) -> None:
    """After a run, finished or broken, every weight of the base has its bits, no gradient, and no hook is left."""
    before = {name: module.weight.clone() for name, module in base.targets().items()}
    with pytest.raises(KeyboardInterrupt):
        train(recipe, base, tmp_path, report=stop_at(3, KeyboardInterrupt))
    train(recipe, base, tmp_path)
    for name, module in base.targets().items():
        assert torch.equal(before[name], module.weight)
        assert module.weight.grad is None
        assert not module._forward_hooks


def test_training_lowers_the_erasing_loss(base: TrainableModel, recipe: Recipe, tmp_path: Path) -> None:
    """Many updates leave less erasing loss than the first ones had."""
    losses: list[float] = []
    long = recipe.model_copy(update={"steps": 120, "rate": 1e-2, "anchor_weight": 0.0})
    train(long, base, tmp_path, report=lambda progress: losses.append(progress.erasing))
    assert sum(losses[-20:]) < 0.8 * sum(losses[:20])


def test_fresh_membranes_change_nothing(base: TrainableModel) -> None:
    """Membranes whose `up` is zero give the bare model's bits."""
    latents, states = torch.randn(2, 2, 4, 4), base.encode(["a cat", "a dog"])
    bare = base.predict(latents, 500, states)
    with MembraneSet(base.targets()).open(base.targets()):
        assert torch.equal(base.predict(latents, 500, states), bare)


def test_the_file_states_how_it_was_made(base: TrainableModel, recipe: Recipe, tmp_path: Path) -> None:
    """The metadata holds what the official format asks for and what is needed to train it again."""
    trained = train(recipe, base, tmp_path)
    metadata = read_spm(trained.path, expected=trained.digest).metadata
    assert metadata["prompts"] == "cat,kitten"
    assert metadata["base_digest"] == base.digest
    assert {"rank", "alpha", "concept", "surrogate", "eta", "lambda", "steps", "seed", "seconds", "safegen"} <= set(
        metadata
    )
    assert finished(recipe, base, tmp_path) is not None
    assert not checkpoint_path(recipe, tmp_path).exists()


def test_anothers_work_is_not_taken_up(base: TrainableModel, recipe: Recipe, tmp_path: Path) -> None:
    """A checkpoint, or a finished file, of another recipe is refused with a hint."""
    other = recipe.model_copy(update={"eta": 2.0})
    with pytest.raises(KeyboardInterrupt):
        train(recipe, base, tmp_path, report=stop_at(3, KeyboardInterrupt))
    with pytest.raises(TrainingError, match="another recipe"):
        train(other, base, tmp_path)
    train(recipe, base, tmp_path)
    with pytest.raises(TrainingError, match="another recipe"):
        finished(other, base, tmp_path)


def test_losses_that_are_not_finite_stop_the_run(base: TrainableModel, recipe: Recipe, tmp_path: Path) -> None:
    """A diverged run ends with an error and writes no SPM."""
    with pytest.raises(TrainingError, match="not finite"):
        train(recipe.model_copy(update={"eta": 1e30}), base, tmp_path)
    assert finished(recipe, base, tmp_path) is None
