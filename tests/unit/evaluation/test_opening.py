"""The calibrated gate as evaluation uses it."""

from __future__ import annotations

import pytest
import torch

from safegen.evaluation.opening import Gated, Installed
from safegen.models import BaseModel
from safegen.models.white_box import WhiteBox
from safegen.spm import SpmFile


@pytest.fixture(scope="module")
def gate(base: BaseModel, spm: SpmFile) -> Gated:
    """Cats and guitars, read as text and as tokens."""
    installed = [Installed("cat", ("cat",), spm), Installed("guitar", ("guitar",), spm)]
    return Gated(base, installed, text_of=WhiteBox(base).text)  # type: ignore[arg-type]


def test_it_opens_for_its_own_concept_alone(gate: Gated) -> None:
    """By name, each prompt for itself."""
    opened = gate(["a cat in the style of neon", "a guitar", "a bell"])
    assert [[item.name for item in items] for items in opened] == [["cat"], ["guitar"], []]


def test_tokens_open_it_as_their_text_does(gate: Gated, base: BaseModel) -> None:
    """What a token search tries meets the gate that a prompt meets."""
    prompts = ["a cat in the style of neon", "a bell"]
    readings = base.read(prompts)
    gammas = gate.gammas(torch.stack([each.states for each in readings]), [each.tokens for each in readings])
    assert gammas.tolist() == [[1.0, 0.0], [0.0, 0.0]]


def test_states_without_a_text_open_everything(gate: Gated, base: BaseModel) -> None:
    """What cannot be read is taken to name all that is installed."""
    gammas = gate.gammas(base.read(["a bell"])[0].states[None], None)
    assert gammas.tolist() == [[1.0, 1.0]]
