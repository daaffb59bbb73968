"""Finding many phrases in one prompt at once, as whole words.

Invariants: a phrase matches whole words only; its last word also matches in the regular plural; the time to search
grows with the length of the prompt and not with the number of phrases.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from safegen.policy.normalise import Word, normalise

Meaning = TypeVar("Meaning")
_HISSING = ("s", "x", "z", "ch", "sh")


@dataclass(slots=True)
class _Node(Generic[Meaning]):
    """The phrases that begin with the words on the way here; `ends` are those that end here."""

    next: dict[str, _Node[Meaning]] = field(default_factory=dict)
    ends: list[Meaning] = field(default_factory=list)

    def child(self, word: str) -> _Node[Meaning]:
        return self.next.setdefault(word, _Node())


class PhraseIndex(Generic[Meaning]):
    """Phrases and what they mean, ready to be found in prompts."""

    def __init__(self, entries: Iterable[tuple[str, Meaning]]) -> None:
        self._root: _Node[Meaning] = _Node()
        split = [([word.text for word in normalise(phrase)], meaning) for phrase, meaning in entries]
        for words, meaning in split:
            self._add(words, meaning)
        for words, meaning in split:
            for plural in _plurals(words):
                self._add(plural, meaning)

    def find(self, words: Sequence[Word]) -> Iterator[tuple[int, int, Meaning]]:
        """Yield `(first, last, meaning)` for each phrase found, `first` and `last` being positions in `words`.

        Order: by first word, then longer phrases first, then phrases as listed before their plurals.
        """
        for first in range(len(words)):
            node: _Node[Meaning] | None = self._root
            found: list[tuple[int, int, Meaning]] = []
            for last in range(first, len(words)):
                node = node.next.get(words[last].text) if node is not None else None
                if node is None:
                    break
                found[:0] = [(first, last, meaning) for meaning in node.ends]
            yield from found

    def _add(self, words: Sequence[str], meaning: Meaning) -> None:
        if not words:
            return
        node = self._root
        for word in words:
            node = node.child(word)
        if meaning not in node.ends:
            node.ends.append(meaning)


def _plurals(words: Sequence[str]) -> Iterator[list[str]]:
    """The phrase with its last word in the regular plural."""
    if words and words[-1].isalpha():
        last = words[-1]
        if not last.endswith(_HISSING):
            yield [*words[:-1], f"{last}s"]
        if last.endswith((*_HISSING, "o")):
            yield [*words[:-1], f"{last}es"]
