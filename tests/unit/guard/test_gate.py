"""The gatekeeper: permeabilities of a bundle for one prompt, with the reason of each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from safegen.guard.gate import Gatekeeper, Opening
from safegen.policy import BundleItem

if TYPE_CHECKING:
    from safegen.models import BaseModel
    from safegen.spm import Registry, SpmFile


@pytest.fixture(scope="module")
def spm(registry: Registry) -> SpmFile:
    return registry.load_adapter("sticker/cat", base=registry.base("sticker"))


def _item(**changes: object) -> BundleItem:
    fields = {
        "rule": "no-cats",
        "concept": "cat",
        "adapter": "sticker/cat",
        "phrases": ("cat", "kitten"),
        "strength": 1.0,
        "transport": "paper",
        "floor": 0.0,
        "ceiling": 4.0,
        "cutoff": 0.0,
    }
    return BundleItem.model_validate(fields | changes)


def _opened(base: BaseModel, spm: SpmFile, prompt: str, item: BundleItem) -> Opening:
    openings, _ = Gatekeeper(base).open(prompt, [(item, spm)])
    return openings[0]


def test_an_opening_says_by_which_phrase_and_similarity(base: BaseModel, spm: SpmFile) -> None:
    """The phrase that stands in the prompt opens its membrane, and is named."""
    opening = _opened(base, spm, "a kitten in the style of noto", _item())
    assert (opening.phrase, opening.similarity, opening.gamma) == ("kitten", 1.0, 1.0)


def test_a_phrase_that_the_policy_matched_opens_fully_whatever_the_encoder_thinks(
    base: BaseModel, spm: SpmFile
) -> None:
    """A disguised word is unknown to the encoder; the policy's rule saw through it, so the membrane is open."""
    opening = _opened(base, spm, "a k1tt3n in the style of noto", _item(matched="kitten"))
    assert (opening.phrase, opening.similarity, opening.gamma) == ("kitten", 1.0, 1.0)


def test_an_open_gate_compares_nothing(base: BaseModel, spm: SpmFile) -> None:
    """`open` opens to its strength, and names no phrase."""
    opening = _opened(base, spm, "a house", _item(transport="open", strength=0.5))
    assert (opening.phrase, opening.similarity, opening.gamma) == ("", 0.0, 0.5)
