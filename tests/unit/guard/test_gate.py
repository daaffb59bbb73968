"""The gatekeeper: permeabilities of a bundle for one prompt, with the reason of each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from safegen.guard.gate import Gatekeeper, Opening
from safegen.policy import BundleItem
from safegen.spm import SpmFile

if TYPE_CHECKING:
    from safegen.models import BaseModel
    from safegen.spm import Registry


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


def test_the_calibrated_gate_opens_all_at_once_what_each_would_open_alone(base: BaseModel, spm: SpmFile) -> None:
    """A bundle of several transports, matched and not: every opening is the one that it has alone."""
    items = [
        _item(transport="calibrated"),
        _item(transport="calibrated", concept="wolf", phrases=("wolf",), strength=0.5),
        _item(transport="paper", concept="fox", phrases=("fox",)),
        _item(transport="calibrated", concept="fire", phrases=("fire",), matched="fire"),
        _item(transport="open", strength=2.0),
        _item(transport="calibrated", concept="owl", phrases=("owl", "night owl"), floor=0.8, ceiling=0.9),
    ]
    bare = SpmFile(layers=spm.layers, metadata={}, digest="bare")
    bundle = [(item, bare) for item in items]
    for prompt in ("a kitten beside a wolf", "an owl at a fire engine", "a house, pencil style"):
        together = Gatekeeper(base).open(prompt, bundle)[0]
        alone = [Gatekeeper(base).open(prompt, [one])[0][0] for one in bundle]
        assert [one.phrase for one in together] == [one.phrase for one in alone]
        assert [one.gamma for one in together] == pytest.approx([one.gamma for one in alone], abs=1e-4)
    assert [one.gamma for one in Gatekeeper(base).open("a kitten beside a wolf", bundle)[0]][:2] == [1.0, 0.5]
    assert Gatekeeper(base).open("an owl", bundle)[0][5].gamma == 0.9
    assert Gatekeeper(base).open("a house", bundle)[0][1].gamma == 0.0


def test_the_policys_own_words_open_a_gate_that_was_calibrated_for_others(base: BaseModel, spm: SpmFile) -> None:
    """A phrase that only the policy knows opens word by word, and is named."""
    item = _item(transport="calibrated", phrases=("moggy", "cat"))
    assert _opened(base, spm, "my old moggy", item)[2:5] == (1.0, "moggy", 1.0)


def test_a_gatekeeper_is_asked_about_one_adapter_after_the_other(base: BaseModel, registry: Registry) -> None:
    """Bundles of one size and of different adapters follow each other, as the prompts of an app do."""
    keeper = Gatekeeper(base)
    for name in ("cat", "pistol", "cat"):
        item = _item(concept=name, adapter=f"sticker/{name}", phrases=(name,), transport="calibrated")
        spm = registry.load_adapter(f"sticker/{name}", base=registry.base("sticker"))
        openings, _ = keeper.open(f"a {name} in the style of noto", [(item, spm)])
        assert (openings[0].phrase, openings[0].gamma) == (name, 1.0)
