"""Solving an SPM, on a tiny denoiser with random weights."""

from __future__ import annotations

import pytest
import torch

from safegen.errors import TrainingError
from safegen.models import TrainableModel
from safegen.spm import Attached, attach
from safegen.training.solve import Solver, text_projections

ANCHORS = ["dog by ann", "owl by bob", "fox", "a tree by ann", "cat by ann", "sea"]
PAIRS = [("cat by ann", "dog by ann"), ("cat", "dog")]


def is_cat(prompt: str) -> bool:
    return "cat" in prompt


def change(base: TrainableModel, spm, prompt: str, goal: str) -> tuple[float, float]:
    """How far keys and values of a prompt lie from a goal's, bare and with the SPM open."""
    states, wanted = base.encode([prompt]), base.encode([goal])
    modules = text_projections(base)
    goals = {name: module(wanted) for name, module in modules.items()}
    bare = sum(float((module(states) - goals[name]).square().sum()) for name, module in modules.items())
    with attach(base.targets(), [Attached(spm, 1.0, "cat")]):
        opened = sum(float((module(states) - goals[name]).square().sum()) for name, module in modules.items())
    return bare, opened


def test_the_target_is_read_as_its_surrogate(base: TrainableModel) -> None:
    """Open, the target's keys and values come near the surrogate's; a held anchor's stay where they are."""
    solution = Solver(base, ANCHORS).solve(PAIRS, names_concept=is_cat, drift=0.3)
    bare, opened = change(base, solution.spm(), "cat by ann", "dog by ann")
    assert opened < 0.7 * bare
    assert solution.drift <= 0.3
    assert "cat by ann" not in solution.nearest
    assert change(base, solution.spm(), "owl by bob", "owl by bob")[1] < 0.5 * bare


def test_a_smaller_budget_changes_less(base: TrainableModel) -> None:
    """Less drift is allowed, so more weight lies on the anchors and less of the change is made."""
    solver = Solver(base, ANCHORS)
    wide, narrow = (solver.solve(PAIRS, names_concept=is_cat, drift=drift) for drift in (0.2, 0.02))
    assert wide.anchor_weight < narrow.anchor_weight
    assert wide.reached > narrow.reached


def test_alpha_scales_the_file_and_not_the_effect(base: TrainableModel) -> None:
    """The update is the same whatever alpha is; a greater rank reaches at least as much."""
    solver = Solver(base, ANCHORS)
    one, four = (solver.solve(PAIRS, alpha=alpha).membranes for alpha in (1.0, 4.0))
    for (_, left), (_, right) in zip(one.items(), four.items(), strict=True):
        torch.testing.assert_close(left.delta(), right.delta())
    ranks = [solver.solve(PAIRS, rank=rank, drift=0.1).reached for rank in (1, 2)]
    assert ranks[1] >= ranks[0]


def test_one_vocabulary_serves_many_concepts(base: TrainableModel) -> None:
    """What was solved before leaves no trace in what is solved next."""
    shared = Solver(base, ANCHORS)
    shared.solve([("fox", "owl")])
    again, fresh = shared.solve(PAIRS).membranes, Solver(base, ANCHORS).solve(PAIRS).membranes
    for (_, left), (_, right) in zip(again.items(), fresh.items(), strict=True):
        assert torch.equal(left.up, right.up)
        assert torch.equal(left.down, right.down)


def test_nothing_to_erase_is_an_error(base: TrainableModel) -> None:
    """No target, and a target that is read as its surrogate, are told apart and explained."""
    solver = Solver(base, ANCHORS)
    with pytest.raises(TrainingError, match="no target"):
        solver.solve([])
    with pytest.raises(TrainingError, match="alike"):
        solver.solve([("cat", "cat")])
    with pytest.raises(TrainingError, match="no anchoring weight"):
        solver.solve(PAIRS, drift=1e-12)
