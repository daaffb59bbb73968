"""The training loop, on a tiny denoiser with random weights."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from safegen.errors import TrainingError
from safegen.models import TrainableModel
from safegen.spm import MembraneSet, read_spm
from safegen.training.loop import train
from safegen.training.recipe import Recipe
from safegen.training.released import noise_anchors
from safegen.training.result import checkpoint_path, finished
from safegen.training.run import Progress
from safegen.training.trainer import Trainer


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


def test_a_diverged_run_keeps_its_last_good_state(base: TrainableModel, recipe: Recipe, tmp_path: Path) -> None:
    """The state before the losses ceased to be finite is kept, finite, and the error says where it lies."""
    with pytest.raises(TrainingError, match="not finite") as caught:
        train(recipe.model_copy(update={"eta": 1e30}), base, tmp_path)
    path = checkpoint_path(recipe, tmp_path)
    assert str(path) in caught.value.hint
    kept = load_file(path)
    assert all(value.isfinite().all() for name, value in kept.items() if name.startswith("membranes/"))


def test_a_loop_may_begin_with_the_solved_membranes(base: TrainableModel, recipe: Recipe, tmp_path: Path) -> None:
    """The first loss is then smaller than from nothing, and the other layers still begin with nothing."""
    first: list[float] = []
    for start in ("nothing", "closed-form"):
        begun = recipe.model_copy(update={"start": start, "drift": 0.9, "id": f"tiny/{start}"})
        Trainer(base).train(begun, tmp_path, report=lambda now: first.append(now.erasing) if now.done == 1 else None)
    assert first[1] < first[0]


def test_the_released_loop_resumes_and_trains(base: TrainableModel, recipe: Recipe, tmp_path: Path) -> None:
    """By name, with its own schedule: one roll-out an update, and a resumed run equals an unbroken one."""
    released = recipe.model_copy(update={"method": "released"})
    whole = train(released, base, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(released, base, tmp_path / "broken", report=stop_at(4, KeyboardInterrupt), save_seconds=0)
    seen: list[int] = []
    resumed = train(released, base, tmp_path / "broken", report=lambda progress: seen.append(progress.done))
    assert seen[0] == 4
    assert same(tensors(whole.path), tensors(resumed.path))
    assert read_spm(whole.path).metadata["method"] == "released"


def test_released_anchors_are_noise_of_the_targets_length() -> None:
    """The released code's anchors point anywhere, and are about as long as the target."""
    target = torch.randn(1, 6, 16, generator=torch.Generator().manual_seed(1))
    anchors = noise_anchors(target, 4, torch.Generator().manual_seed(2))
    lengths = anchors.flatten(1).norm(dim=1) / target.norm()
    assert anchors.shape == (4, 6, 16)
    assert ((lengths > 0.79) & (lengths < 1.21)).all()


def test_prompts_that_are_too_long_are_refused(base: TrainableModel, recipe: Recipe, tmp_path: Path) -> None:
    """A target that the base does not read to its end would be erased by half; either method says so."""
    long = recipe.model_copy(update={"surrogate": "a very long surrogate for this base"})
    with pytest.raises(TrainingError, match="shorten"):
        train(long, base, tmp_path)
    with pytest.raises(TrainingError, match="shorten"):
        Trainer(base).train(long.model_copy(update={"method": "closed-form"}), tmp_path)


def test_a_full_disk_is_explained(
    base: TrainableModel, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkpoint that cannot be written ends the run with a typed error and leaves the one before it whole."""
    with pytest.raises(KeyboardInterrupt):
        train(recipe, base, tmp_path, report=stop_at(3, KeyboardInterrupt))
    before = checkpoint_path(recipe, tmp_path).read_bytes()

    def full(*_arguments: object, **_options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("safegen.training.checkpoint.save_file", full)
    with pytest.raises(TrainingError, match="No space left"):
        train(recipe, base, tmp_path, save_seconds=0)
    assert checkpoint_path(recipe, tmp_path).read_bytes() == before
