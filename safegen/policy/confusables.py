"""Characters that look like a Latin letter, and ordinary words that look like other words.

Invariant: the tables are read once and never change.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files


def latin_letter(character: str) -> str:
    """The letter a..z that a character looks like; empty if it looks like none."""
    return _letters().get(character, "")


def is_ordinary(word: str) -> bool:
    """Whether a word with a doubled letter is one that people use as it is."""
    return word in _doubled_words()


@cache
def _letters() -> dict[str, str]:
    return {look: line[0] for line in _lines("confusables.txt") for look in line[2:]}


@cache
def _doubled_words() -> frozenset[str]:
    return frozenset(word for line in _lines("doubled_words.txt") for word in line.split())


def _lines(name: str) -> list[str]:
    text = files("safegen.policy").joinpath(name).read_text(encoding="utf-8")
    return [line for line in text.splitlines() if not line.startswith("#")]
