"""Attacks on the membranes during training, on a tiny denoiser with random weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from safegen.errors import TrainingError
from safegen.models import TrainableModel
from safegen.spm import MembraneSet, read_spm
from safegen.spm.layers import layer_name
from safegen.training.adversarial import attack, attacked_rows
from safegen.training.loop import train
from safegen.training.recipe import Adversarial, Recipe
from safegen.training.run import Progress


@pytest.fixture
def opened(base: TrainableModel) -> MembraneSet:
    """Membranes that change much."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        membranes = MembraneSet(base.targets())
        for _, membrane in membranes.items():  # noqa: PERF102 - no mapping
            nn.init.normal_(membrane.up, std=0.3)
    return membranes


def attacked(base: TrainableModel, opened: MembraneSet, settings: Adversarial, seed: int = 0):
    """States before and after, and how far their predictions are from the bare ones."""
    states = base.encode(["cat by ann", "kitten by bob"])
    latents = base.noise(2, torch.Generator().manual_seed(1))
    rows = attacked_rows(2, settings.share)
    with torch.no_grad():
        wanted = base.predict(latents, 500, states)
    with opened.open(base.targets()):
        generator = torch.Generator().manual_seed(seed)
        moved = attack(lambda each: base.predict(latents[:rows], 500, each), states, wanted, settings, generator)
        with torch.no_grad():
            losses = [float((base.predict(latents, 500, each) - wanted).square().mean()) for each in (states, moved)]
    return states, moved, losses


def test_an_attack_brings_the_target_back(base: TrainableModel, opened: MembraneSet) -> None:
    """More of the bare prediction comes through open membranes, the more the larger the radius."""
    _, _, (before, near) = attacked(base, opened, Adversarial(steps=8, radius=0.1, share=1))
    _, _, (_, far) = attacked(base, opened, Adversarial(steps=8, radius=0.6, share=1))
    assert far < near < before


def test_an_attack_keeps_to_its_radius_and_its_rows(base: TrainableModel, opened: MembraneSet) -> None:
    """No token moves further than its share, every one moves, other rows keep their bits, weights have no gradient."""
    states, moved, _ = attacked(base, opened, Adversarial(steps=3, radius=0.25, share=0.5))
    share = (moved - states).norm(dim=-1) / states.norm(dim=-1)
    assert (share[0] > 0).all()
    assert share.max() <= 0.25 + 1e-5
    assert torch.equal(states[1], moved[1])
    assert not moved.requires_grad
    assert all(parameter.grad is None for parameter in opened.parameters())


def test_an_attack_is_seeded(base: TrainableModel, opened: MembraneSet) -> None:
    """The same generator gives the same attack, another one another."""
    first, again, other = (attacked(base, opened, Adversarial(), seed)[1] for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_attacked_training_resumes_bit_for_bit(base: TrainableModel, recipe: Recipe, tmp_path: Path) -> None:
    """A run with attacks that is killed and goes on equals an unbroken one, and differs from one without attacks."""

    def kill(progress: Progress) -> None:
        if progress.done == 5:
            raise SystemExit

    hard = recipe.model_copy(update={"adversarial": Adversarial()})
    whole = train(hard, base, tmp_path / "whole")
    with pytest.raises(SystemExit):
        train(hard, base, tmp_path / "broken", report=kill, save_seconds=0)
    plain, resumed = train(recipe, base, tmp_path / "plain"), train(hard, base, tmp_path / "broken")
    first, second, third = (read_spm(each.path).layers for each in (whole, resumed, plain))
    assert all(first[name][1].equal(second[name][1]) for name in first)
    assert not all(first[name][1].equal(third[name][1]) for name in first)


def test_training_on_attacks_withstands_them_better(base: TrainableModel, recipe: Recipe, tmp_path: Path) -> None:
    """After the same number of updates, attacked predictions lie nearer to the surrogate's than without."""
    settings = Adversarial(steps=3, radius=0.3, share=1)
    long = recipe.model_copy(update={"steps": 30, "rate": 2e-2, "anchor_weight": 0.0})
    missed = []
    for number, each in enumerate((None, settings)):
        trained = train(long.model_copy(update={"adversarial": each, "id": f"tiny/{number}"}), base, tmp_path)
        missed.append(_missed(base, trained.path, long, Adversarial(steps=8, radius=0.3, share=1)))
    assert missed[1] < missed[0]


def _missed(base: TrainableModel, path: Path, recipe: Recipe, settings: Adversarial) -> float:
    """Mean square between attacked predictions with the SPM open and what they should be."""
    membranes = MembraneSet(base.targets())
    layers = read_spm(path).layers
    with torch.no_grad():
        for membrane, (down, up, _alpha) in ((each, layers[layer_name(name)]) for name, each in membranes.items()):
            membrane.down.copy_(down)
            membrane.up.copy_(up)
    pairs = recipe.pairs()
    states, instead = (base.encode(list(texts)) for texts in zip(*pairs, strict=True))
    total = 0.0
    for seed, timestep in enumerate((900, 600, 300)):
        latents = base.noise(len(states), torch.Generator().manual_seed(seed))
        with torch.no_grad():
            target, surrogate = (base.predict(latents, timestep, each) for each in (states, instead))
        goal = 2 * surrogate - target
        with membranes.open(base.targets()):
            generator = torch.Generator().manual_seed(seed)
            moved = attack(lambda each: base.predict(latents, timestep, each), states, target, settings, generator)  # noqa: B023
            with torch.no_grad():
                total += float((base.predict(latents, timestep, moved) - goal).square().mean())
    return total


@pytest.mark.parametrize("field", ["adversarial", "anchor_weight"])
def test_the_released_loop_refuses_what_it_does_not_know(
    base: TrainableModel, recipe: Recipe, tmp_path: Path, field: str
) -> None:
    """Attacks and budgets are this package's; the released loop stays as released, and says so."""
    stated = {"adversarial": Adversarial(), "anchor_weight": "budget"}
    released = recipe.model_copy(update={"method": "released", field: stated[field]})
    with pytest.raises(TrainingError, match=f"`{field}`"):
        train(released, base, tmp_path)
