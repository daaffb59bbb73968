"""The sticker world: what is taught, and in which words."""

from __future__ import annotations

import random

import numpy as np
import pytest

from safegen.training.sticker.captions import Captions, plural, with_article
from safegen.training.sticker.scenes import SCENES
from safegen.training.sticker.styles import FILTERS, finish
from safegen.training.sticker.world import sticker_world

WORLD = sticker_world()


def test_the_world_is_as_large_as_it_is_said_to_be() -> None:
    """At least 144 concepts, five styles, twenty characters, three memorised pictures; no name twice."""
    assert len(WORLD.concepts) >= 144
    assert len(WORLD.styles) >= 5
    assert sum(concept.category == "character" for concept in WORLD.concepts) >= 20
    assert 3 <= len(WORLD.memorised) <= 5
    words = [word for concept in WORLD.concepts for word in (concept.name, *concept.aliases)]
    assert len(words) == len(set(words))


def test_scenes_are_made_of_known_concepts() -> None:
    """Each memorised title has its scene, and each scene's parts are in the world."""
    names = {concept.name for concept in WORLD.concepts}
    for memorised in WORLD.memorised:
        assert {item[0] for item in SCENES[memorised.scene].items} <= names


def test_captions_state_what_they_say_they_state() -> None:
    """Flags and words agree: a caption that claims concept, style or background holds a word for it."""
    captions, rng = Captions(WORLD, {}), random.Random(0)
    for _ in range(2000):
        labels = (rng.randrange(len(WORLD.concepts)), rng.randrange(len(WORLD.styles)), rng.randrange(8))
        told = captions.caption(labels, rng)
        concept = WORLD.concepts[labels[0]]
        if told.concept:
            assert any(word in told.text or plural(word) in told.text for word in captions.words[concept.name])
        if told.style:
            style = WORLD.styles[labels[1]]
            assert any(word in told.text for word in (style.name, *style.aliases))
        if told.background:
            assert captions.backgrounds[labels[2]] in told.text


def test_captions_are_a_function_of_labels_and_randomness() -> None:
    """The same seed says the same."""
    captions = Captions(WORLD, {})
    assert captions.caption((0, 0, 0), random.Random(4)) == captions.caption((0, 0, 0), random.Random(4))


@pytest.mark.parametrize(
    ("word", "article", "many"), [("owl", "an owl", "owls"), ("fox", "a fox", "foxes"), ("zibbo", "zibbo", "zibbos")]
)
def test_english_is_regular_enough(word: str, article: str, many: str) -> None:
    """Articles and plurals of ordinary words."""
    assert (with_article(word), plural(word)) == (article, many)


@pytest.mark.parametrize("name", sorted(FILTERS))
def test_filters_are_pure_and_finish_in_range(name: str) -> None:
    """The same drawing gives the same picture of 64 x 64 bytes, and an empty one shows the background alone."""
    rng = np.random.default_rng(0)
    alpha = np.zeros((128, 128, 1), np.float32)
    alpha[32:96, 32:96] = 1
    colour = rng.random((128, 128, 3), dtype=np.float32) * alpha
    background = np.array([0.4, 0.6, 0.9], np.float32)
    first = finish(FILTERS[name](colour, alpha, background))
    assert first.shape == (64, 64, 3)
    assert np.array_equal(first, finish(FILTERS[name](colour, alpha, background)))
