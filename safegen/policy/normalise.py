"""Prompts as words that can be compared, each with its place in the original text.

Invariants: what looks alike compares alike (compatibility forms, case, diacritics, invisible characters); every word
knows the span of the original text that it came from; normalising a normalised text changes nothing.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

_BLANK_LETTERS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u3164\uffa0")
"""Characters that draw nothing, though Unicode files them under letters or marks."""
_NUMBER = r"\s*[+-]?\s*(?:\d+(?:\.\d*)?|\.\d+)\s*"
_WEIGHT = re.compile(rf"(?:\s*:{_NUMBER})+(?=[)\]}}])")
"""The weight in `(word:1.3)`; it stands before a closing bracket."""
_FIRST_DIACRITIC_CLASS = 200
_LEAST_VISIBLE_VARIATION, _LAST_VARIATION = "\ufe00", "\ufe0f"
_SUPPLEMENTARY_VARIATIONS = ("\U000e0100", "\U000e01ef")


@dataclass(frozen=True, slots=True)
class Word:
    """One word: its comparable form and the span `start:end` of the original text."""

    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class _Character:
    """One comparable character and the span of the original text that it came from."""

    text: str
    start: int
    end: int


def normalise(text: str) -> tuple[Word, ...]:
    """The words of a text, in order."""
    characters = _without_weights(list(_characters(text)))
    words: list[Word] = []
    for kind, group in groupby(characters, key=lambda character: _kind(character.text)):
        if kind == "word":
            members = list(group)
            joined = "".join(member.text for member in members)
            words.append(Word(joined, members[0].start, members[-1].end))
        elif kind == "alone":
            words.extend(Word(one.text, one.start, one.end) for one in group)
    return tuple(words)


def join(words: tuple[Word, ...]) -> str:
    """The normalised text: the words with single spaces between them."""
    return " ".join(word.text for word in words)


def _characters(text: str) -> Iterator[_Character]:
    """Comparable characters; a base character and its combining marks are folded together."""
    start = end = 0
    cluster = ""
    for position, character in enumerate(text):
        if _is_invisible(character):
            continue
        if cluster and not unicodedata.combining(character):
            yield from (_Character(one, start, end) for one in _fold(cluster))
            cluster = ""
        if not cluster:
            start = position
        cluster += character
        end = position + 1
    yield from (_Character(one, start, end) for one in _fold(cluster))


def _fold(cluster: str) -> str:
    """NFKD, diacritics off, casefold; twice, because casefolding can bring back what decomposes."""
    for _ in range(2):
        decomposed = unicodedata.normalize("NFKD", cluster)
        bare = "".join(one for one in decomposed if not _is_diacritic(one) and not _is_invisible(one))
        cluster = unicodedata.normalize("NFKD", bare.casefold())
    return cluster


def _is_diacritic(character: str) -> bool:
    """Accents and overlays, but not the marks that tell letters apart in Indic, Thai or Japanese writing."""
    order = unicodedata.combining(character)
    return order == 1 or order >= _FIRST_DIACRITIC_CLASS


def _is_invisible(character: str) -> bool:
    """Zero-width, bidirectional, control and variation characters; white space is none of them."""
    if character.isascii():
        return not character.isprintable() and not character.isspace()
    if _LEAST_VISIBLE_VARIATION <= character <= _LAST_VARIATION or character in _BLANK_LETTERS:
        return True
    first, last = _SUPPLEMENTARY_VARIATIONS
    if first <= character <= last:
        return True
    return unicodedata.category(character) in {"Cf", "Cc", "Cs"} and not character.isspace()


def _without_weights(characters: list[_Character]) -> list[_Character]:
    """Drop prompt weights, so that `(santa:1.2) claus` still reads as two words side by side."""
    text = "".join(character.text for character in characters)
    dropped: set[int] = set()
    for weight in _WEIGHT.finditer(text):
        dropped.update(range(weight.start(), weight.end()))
    return [character for position, character in enumerate(characters) if position not in dropped]


def _kind(character: str) -> str:
    """`word` joins its neighbours, `alone` is a word of its own (a pictograph, an ideograph), `gap` separates."""
    category = unicodedata.category(character)
    if category == "So" or unicodedata.name(character, "").startswith("CJK UNIFIED IDEOGRAPH"):
        return "alone"
    return "word" if character.isalnum() or category.startswith("M") else "gap"
