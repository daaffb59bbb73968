"""Finding phrases in prompts."""

from __future__ import annotations

import pytest

from safegen.policy.phrases import PhraseIndex


def found(prompt: str, *phrases: str) -> list[str]:
    index = PhraseIndex((phrase, phrase) for phrase in phrases)
    return [meaning for _, _, meaning in index.read(prompt).found]


@pytest.mark.parametrize(
    ("prompt", "phrase"),
    [("Essex", "sex"), ("Scunthorpe", "cunt"), ("a van", "van gogh"), ("gogh van", "van gogh"), ("catalogue", "cat")],
)
def test_only_whole_phrases_match(prompt: str, phrase: str) -> None:
    """Part of a word, part of a phrase, or its words in another order are no match."""
    assert found(prompt, phrase) == []


@pytest.mark.parametrize(
    ("prompt", "phrase"), [("cats", "cat"), ("foxes", "fox"), ("water guns", "water gun"), ("torsoes", "torso")]
)
def test_regular_plurals_match(prompt: str, phrase: str) -> None:
    """The last word of a phrase may stand in the regular plural."""
    assert found(prompt, phrase) == [phrase]


@pytest.mark.parametrize(("prompt", "phrase"), [("waters gun", "water gun"), ("catses", "cat"), ("cat", "cats")])
def test_other_endings_do_not_match(prompt: str, phrase: str) -> None:
    """Plurals are formed at the end of the phrase only, and never undone."""
    assert found(prompt, phrase) == []


def test_longer_phrases_come_first() -> None:
    """Where phrases begin at the same word, the longest is found first, and none is lost."""
    assert found("santa claus", "santa", "santa claus") == ["santa claus", "santa"]
