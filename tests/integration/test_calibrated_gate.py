"""The calibrated gate on the sticker base: what opens, and what stays closed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from safegen.evaluation.gate_calibration import calibrate, kept_calibration, text_space
from safegen.spm.calibration import KEY
from safegen.spm.reading_cache import ReadingCache
from safegen.spm.similarity import MOST_BY_MEANING, ConceptStack

if TYPE_CHECKING:
    from pathlib import Path

    from safegen.models import BaseModel
    from safegen.spm.text_space import TextSpace

PHRASES = {
    "cat": ("cat", "kitten"),
    "fire": ("fire", "flame"),
    "tree": ("tree",),
    "wolf": ("wolf",),
    "wizard": ("wizard",),
    "pixel art": ("pixel art",),
}


@pytest.fixture(scope="module")
def space(base: BaseModel, tmp_path_factory: pytest.TempPathFactory) -> TextSpace:
    return text_space(base, cache=ReadingCache(tmp_path_factory.mktemp("readings")))


@pytest.fixture(scope="module")
def stack(space: TextSpace) -> ConceptStack:
    return ConceptStack([space.concept(phrases) for phrases in PHRASES.values()])


def opened(space: TextSpace, stack: ConceptStack, prompt: str) -> set[str]:
    similarities = stack.compare(prompt, next(space.read([prompt]))).values
    gammas = {
        name: calibrate(space, phrases).permeability(value)
        for (name, phrases), value in zip(PHRASES.items(), similarities.tolist(), strict=True)
    }
    return {name for name, gamma in gammas.items() if gamma > 0}


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("my neighbour's cat, asleep", {"cat"}),
        ("two Kittens by neon", {"cat"}),
        ("a cat beside a wolf", {"cat", "wolf"}),
        ("a house in pixel art", {"pixel art"}),
        ("a sorcerer in the style of noto", {"wizard"}),
        ("a fire engine", set()),
        ("a christmas tree", set()),
        ("a palm tree and a fire truck", set()),
        ("a fox, pencil style", set()),
        ("a tiger on a green background", set()),
        ("", set()),
    ],
)
def test_the_gate_opens_for_its_concept_and_for_no_neighbour(
    space: TextSpace, stack: ConceptStack, prompt: str, expected: set[str]
) -> None:
    """Own words in any setting and synonyms that the encoder knows open; neighbours and longer names do not."""
    assert opened(space, stack, prompt) == expected


def test_each_concept_is_compared_as_if_it_were_alone(space: TextSpace, stack: ConceptStack) -> None:
    """What a stack says of a concept is what a stack of that concept alone says."""
    prompt = "a sorcerer with a kitten at a fire engine"
    points = next(space.read([prompt]))
    together = stack.compare(prompt, points)
    for number, phrases in enumerate(PHRASES.values()):
        alone = ConceptStack([space.concept(phrases)]).compare(prompt, points)
        assert together.values[number] == pytest.approx(alone.values[0], abs=1e-5)
        assert together.named.get(number) == alone.named.get(0)


def test_meaning_is_never_as_certain_as_the_word(space: TextSpace, stack: ConceptStack) -> None:
    """By meaning alone no prompt reaches the similarity of a name that stands in the text."""
    meant = stack.meaning(list(space.read(["a cat", "a wolf", ""])))
    assert meant.max() <= MOST_BY_MEANING
    assert meant[2].tolist() == [0.0] * len(PHRASES)


def test_readings_come_from_the_cache_and_damage_means_reading_again(base: BaseModel, tmp_path: Path) -> None:
    """The same rows whether read, kept, or kept and then damaged."""
    cache = ReadingCache(tmp_path)
    first = text_space(base, cache=cache).concept(("cat",)).rows
    files = sorted(tmp_path.iterdir())
    kept = text_space(base, cache=cache)
    assert torch.equal(kept.concept(("cat",)).rows, first)
    for number, file in enumerate(files):
        content = file.read_bytes()
        file.write_bytes(content[: len(content) // 2] if number % 2 else b"\xff" * len(content))
    assert torch.equal(text_space(base, cache=cache).concept(("cat",)).rows, first)
    assert sorted(tmp_path.iterdir()) == files


def test_a_stored_calibration_counts_in_its_own_space_only(space: TextSpace) -> None:
    """Without one, or with one of another space, it is fitted on the spot, and kept."""
    stored = calibrate(space, ("cat",))
    assert kept_calibration(space, {KEY: stored.to_metadata()}, ("cat",)) == stored
    foreign = stored.model_copy(update={"space": "sha256:" + "1" * 64, "curve": stored.curve[-1:]})
    assert kept_calibration(space, {KEY: foreign.to_metadata()}, ()) == stored
    assert kept_calibration(space, {}, ("cat",)) == stored


def test_benign_prompts_do_not_name_the_concept(space: TextSpace) -> None:
    """A synonym that the base's vocabulary knows is no benign prompt; a longer name of another thing is."""
    prompts = ["a kitten", "a fire", "a house"]
    assert space.vocabulary.strangers(["cat"], prompts) == (1, 2)
    assert space.vocabulary.strangers(["fire"], ["a fire truck", "fires", "flame"]) == (0,)


def test_benign_similarities_leave_no_gate_open(space: TextSpace, stack: ConceptStack) -> None:
    """On the benign prompts that it was fitted on, a gate that meaning opens is closed."""
    for number, phrases in enumerate(PHRASES.values()):
        calibration = calibrate(space, phrases)
        kept = space.vocabulary.strangers(phrases, space.benign_prompts)
        meant = stack.meaning([space.benign[at] for at in kept])[:, number]
        assert np.mean([calibration.permeability(value) > 0 for value in meant]) <= 0.01
