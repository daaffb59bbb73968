"""The words of a zero-shot reviewer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from safegen.errors import ReviewError
from safegen.review.vocabulary import Vocabulary

WORDS: dict[str, Any] = {
    "concepts": {"cat": ["a cat", "a kitten"], "dog": [], "pencil": ["a pencil"]},
    "styles": {"pencil": ["pencil"]},
    "memorised": {"The Midnight Carousel": []},
    "templates": {"concept": ["{}", "a picture of {}"], "style": ["{} style"]},
}


def read(folder: Path, **changes: Any) -> Vocabulary:
    """A vocabulary from a file."""
    (folder / "vocabulary.json").write_text(json.dumps(WORDS | changes), encoding="utf-8")
    return Vocabulary.read(folder / "vocabulary.json")


@pytest.mark.parametrize(
    ("target", "meanings"),
    [
        ("cat", (("concept", "cat"),)),
        ("  The  CAT ", (("concept", "cat"),)),
        ("kitten", (("concept", "cat"),)),
        ("a dog", (("concept", "dog"),)),
        ("pencil", (("concept", "pencil"), ("style", "pencil"))),
        ("midnight carousel", (("memorised", "The Midnight Carousel"),)),
        ("submarine", ()),
    ],
)
def test_words_are_found_whatever_their_case_and_article(
    tmp_path: Path, target: str, meanings: tuple[tuple[str, str], ...]
) -> None:
    """A target names a class by its name or any phrase, in every group that has it."""
    assert read(tmp_path).meanings(target) == meanings


def test_titles_stand_beside_all_concepts(tmp_path: Path) -> None:
    """A title competes with every concept, so that a lone title does not claim each picture."""
    group = read(tmp_path).groups["memorised"]
    assert set(group.classes) == {"cat", "dog", "pencil", "The Midnight Carousel"}
    assert group.templates == ("{}", "a picture of {}")


def test_prompts_are_every_phrase_in_every_template(tmp_path: Path) -> None:
    """Two phrases in two templates are four prompts."""
    group = read(tmp_path).groups["concept"]
    assert group.prompts(group.classes["cat"]) == [
        "a cat", "a picture of a cat", "a kitten", "a picture of a kitten",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "changes",
    [
        {"concepts": {}},
        {"concepts": ["cat"]},
        {"concepts": {"cat": "a cat"}},
        {"templates": {"concept": ["{}"]}},
        {"templates": {"concept": ["a picture"], "style": ["{}"]}},
        {"templates": {"concept": [], "style": ["{}"]}},
        {"temperature": 0},
        {"temperature": True},
        {"temperature": "warm"},
    ],
    ids=str,
)
def test_a_file_that_is_no_vocabulary_is_an_error(tmp_path: Path, changes: dict[str, Any]) -> None:
    """No concepts, no templates, or a temperature that is none: a `ReviewError` names the file."""
    with pytest.raises(ReviewError, match=r"vocabulary\.json"):
        read(tmp_path, **changes)


def test_a_file_that_is_no_json_is_an_error(tmp_path: Path) -> None:
    """Damaged text is a `ReviewError`."""
    (tmp_path / "vocabulary.json").write_text("{", encoding="utf-8")
    with pytest.raises(ReviewError, match="cannot be read"):
        Vocabulary.read(tmp_path / "vocabulary.json")
