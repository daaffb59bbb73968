"""Attacks on the shipped base: they work where nothing defends, and meet the gate where something does."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from safegen.evaluation.attacks.defence import GatedMembranes, Undefended, always_open
from safegen.evaluation.attacks.inversion import invert
from safegen.evaluation.attacks.objective import Drawn, Objective
from safegen.evaluation.attacks.soft_prompt import soft_prompt
from safegen.evaluation.attacks.token_search import Search, token_search
from safegen.models import BaseModel, DrawRequest
from safegen.models.white_box import WhiteBox
from safegen.spm import Attached, SpmFile, attach

QUICK = Drawn(steps=1)


@pytest.fixture(scope="module")
def box(base: BaseModel) -> WhiteBox:
    """The base, opened up."""
    return WhiteBox(base)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def references(base: BaseModel) -> tuple[object, ...]:
    """Two cats of the base, softly drawn."""
    return base.draw(DrawRequest(("a cat",) * 2, (1, 2), steps=4)).images


def objective(box: WhiteBox, references: Sequence[object], defence: object) -> Objective:
    return Objective(box, references, defence, seed=0)  # type: ignore[arg-type]


def test_a_prompt_of_the_concept_explains_its_pictures_better_than_another(
    box: WhiteBox, references: Sequence[object]
) -> None:
    """The denoiser's loss is the classifier that attacks follow."""
    goal = objective(box, references, Undefended())
    cat, bell = (box.base.encode([text] * 2) for text in ("a cat", "a bell"))
    with torch.no_grad():
        losses = [sum(float(goal.loss(states, step).sum()) for step in range(6)) for states in (cat, bell)]
    assert losses[0] < losses[1]


def test_a_soft_prompt_lowers_the_loss_that_it_follows(box: WhiteBox, references: Sequence[object]) -> None:
    """A few steps from another prompt, drawn where it was asked for; the penalty sees the states of every step."""
    goal = objective(box, references, Undefended())
    start = box.base.encode(["a bell"] * 2)
    seen: list[torch.Tensor] = []

    def evade(states: torch.Tensor) -> torch.Tensor:
        seen.append(states.detach().clone())
        return torch.zeros(len(states))

    drawn = soft_prompt(goal, start, steps=(0, 5, 6), seeds=[1, 2], how=QUICK, evade=evade)
    with torch.no_grad():
        losses = [float(goal.loss(states, 0).sum()) for states in (start, seen[-1])]
    assert losses[1] < losses[0]
    assert {step: len(pictures) for step, pictures in drawn.items()} == {0: 2, 5: 2, 6: 2}


def test_membranes_act_on_each_row_as_far_as_its_own_gate_opens(
    box: WhiteBox, spm: SpmFile, references: Sequence[object]
) -> None:
    """A closed row is what it is without defence; an open one is what `attach` makes of it."""
    first_open = GatedMembranes("half", [spm], lambda *_: torch.tensor([[1.0], [0.0]]))
    states = box.base.encode(["a cat", "a cat"])
    with torch.no_grad():
        bare = objective(box, references, Undefended()).loss(states, 0)
        half = objective(box, references, first_open).loss(states, 0)
        with attach(box.base.targets(), [Attached(spm, 1.0)]):
            attached = objective(box, references, Undefended()).loss(states, 0)
    assert half[1] == pytest.approx(float(bare[1]), rel=1e-4)
    assert half[0] == pytest.approx(float(attached[0]), rel=1e-4)
    assert half[0] != pytest.approx(float(bare[0]), rel=1e-4)


def test_the_released_rule_multiplies_a_permeability_in_twice(
    box: WhiteBox, spm: SpmFile, references: Sequence[object]
) -> None:
    """Half open as released is a quarter open."""
    states = box.base.encode(["a cat", "a cat"])
    losses = []
    for gamma, squared in ((0.5, True), (0.25, False)):
        defence = GatedMembranes("d", [spm], lambda rows, _, g=gamma: torch.full((len(rows), 1), g), squared)
        with torch.no_grad():
            losses.append(objective(box, references, defence).loss(states, 0).tolist())
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_token_search_finds_a_text_that_reads_back_and_is_no_worse(
    box: WhiteBox, references: Sequence[object], spm: SpmFile
) -> None:
    """One step, few candidates, through an open membrane."""
    goal = objective(box, references, GatedMembranes("open", [spm], always_open))
    picture, text = token_search(goal, 0, "a bell", search=Search(2, 3, 8, 1, 1), seed=0, how=QUICK)
    assert picture.size == (64, 64)
    assert text


def test_the_gate_sees_the_tokens_that_a_search_tries(
    box: WhiteBox, references: Sequence[object], spm: SpmFile
) -> None:
    """In the loop, not only at the end."""
    seen: list[int] = []

    def gate(states: torch.Tensor, tokens: Sequence[Sequence[int]] | None) -> torch.Tensor:
        assert tokens is not None
        seen.append(len(tokens))
        return torch.zeros(len(states), 1)

    goal = objective(box, references, GatedMembranes("closed", [spm], gate))
    token_search(goal, 0, "a bell", search=Search(1, 3, 8, 1, 1), seed=0, how=QUICK)
    assert seen == [1, 1, 3, 1]


def test_inversion_changes_one_token_and_leaves_the_table_alone(box: WhiteBox, references: Sequence[object]) -> None:
    """The learned embedding lives outside of the model."""
    before = box.table.clone()
    goal = objective(box, references, Undefended())
    pictures = invert(goal, word="dog", learn=["a dog"] * 2, use=["a dog"], steps=2, seeds=[1], how=QUICK)
    assert len(pictures) == 1
    assert torch.equal(before, box.table)


def test_inversion_needs_a_word_of_one_token(box: WhiteBox, references: Sequence[object]) -> None:
    """Said with the word."""
    with pytest.raises(ValueError, match="fire engine"):
        invert(
            objective(box, references, Undefended()), word="fire engine", learn=[], use=[], steps=1, seeds=[], how=QUICK
        )


def test_pictures_survive_the_way_to_latents_and_back(box: WhiteBox, references: Sequence[object]) -> None:
    """The autoencoder is nearly its own inverse."""
    latents = box.latents(references)  # type: ignore[arg-type]
    again = box.latents(box.pictures(latents))
    assert float((again - latents).abs().mean()) < 0.2 * float(latents.abs().mean())


def test_drawing_from_states_is_drawing_from_the_prompt(box: WhiteBox) -> None:
    """The same picture up to rounding."""
    import numpy as np

    drawn = box.draw(box.base.encode(["a cat"]), [5], steps=3, guidance=3.0)[0]
    (prompted,) = box.base.draw(DrawRequest(("a cat",), (5,), steps=3)).images
    difference = np.abs(np.asarray(drawn, dtype=int) - np.asarray(prompted, dtype=int))
    assert difference.mean() < 1
