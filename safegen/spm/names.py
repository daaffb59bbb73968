"""Finds names in text by whole words: the part of the gate that needs no text encoder.

Invariants: a name is found as a run of whole words, in the singular or the regular plural, whatever the case and what
stands between the words; a run inside a longer name of another thing ("fire" in "fire engine") is not a find.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

_WORD = re.compile(r"\w+")
_SHORTEST_PLURAL = 3

Words = tuple[str, ...]


def words(text: str) -> Words:
    """The words of a text, case folded."""
    return tuple(_WORD.findall(text.casefold()))


def forms(name: str) -> Iterator[Words]:
    """The words of a name, and of its regular plural."""
    own = words(name)
    if own:
        yield own
        last = own[-1]
        if len(last) >= _SHORTEST_PLURAL and last.isascii() and last.isalpha():
            yield (*own[:-1], plural(last))


def plural(word: str) -> str:
    """The regular English plural."""
    if word.endswith(("s", "x", "ch", "sh")):
        return f"{word}es"
    if word.endswith("y") and word[-2:-1] not in {"a", "e", "i", "o", "u"}:
        return f"{word[:-1]}ies"
    return f"{word}s"


def compounds(phrases: Iterable[str], names: Iterable[str]) -> tuple[str, ...]:
    """The names that hold one of the phrases among other words, and so mean another thing."""
    own = {words(phrase) for phrase in phrases}
    return tuple(
        name
        for name in dict.fromkeys(names)
        if (held := words(name)) not in own and any(_holds(held, one) for one in own)
    )


def _holds(longer: Words, shorter: Words) -> bool:
    return 0 < len(shorter) < len(longer) and any(
        longer[at : at + len(shorter)] == shorter for at in range(len(longer) - len(shorter) + 1)
    )


class NameIndex:
    """Many concepts' names, looked up together: the cost of a text does not grow with the number of names."""

    def __init__(self, concepts: Sequence[tuple[Sequence[str], Sequence[str]]]) -> None:
        """Index concepts by their (phrases, compounds)."""
        self._phrases: dict[Words, list[tuple[int, str]]] = {}
        self._compounds: dict[Words, set[int]] = {}
        for number, (phrases, longer) in enumerate(concepts):
            for phrase in phrases:
                for form in forms(phrase):
                    self._phrases.setdefault(form, []).append((number, phrase))
            for name in longer:
                for form in forms(name):
                    self._compounds.setdefault(form, set()).add(number)
        self._lengths = _lengths(self._phrases)
        self._compound_lengths = _lengths(self._compounds)

    def find(self, text: str) -> dict[int, str]:
        """Numbers of the concepts that the text names, with the phrase that does."""
        own = words(text)
        hidden: dict[int, list[tuple[int, int]]] = {}
        for at, length in runs(own, self._compound_lengths):
            for number in self._compounds.get(own[at : at + length], ()):
                hidden.setdefault(number, []).append((at, at + length))
        found: dict[int, str] = {}
        for at, length in runs(own, self._lengths):
            for number, phrase in self._phrases.get(own[at : at + length], ()):
                if number not in found and not any(a <= at and at + length <= b for a, b in hidden.get(number, ())):
                    found[number] = phrase
        return found


def runs(sequence: Sequence[object], lengths: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Start and length of every run of the given lengths, longest lengths first."""
    for length in lengths:
        for at in range(len(sequence) - length + 1):
            yield at, length


def _lengths(names: Mapping[Words, object]) -> tuple[int, ...]:
    return tuple(sorted({len(form) for form in names}, reverse=True))
