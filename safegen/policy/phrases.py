"""Finding many phrases in one prompt at once, as whole words, disguised or not.

Invariants: a phrase matches whole words only; its last word also matches in the regular plural; the time to search
grows with the length of the prompt and not with the number of phrases.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Generic, NamedTuple, TypeVar

from safegen.policy.disguise import Part, Vocabulary, joined, parts_of, spelt_out
from safegen.policy.normalise import Folded, Span, Word, chunks, fold, normalise, words_of

Meaning = TypeVar("Meaning")
_HISSING = ("s", "x", "z", "ch", "sh")
_MOST_REMEMBERED = 1 << 15
_LONGEST_REMEMBERED = 64
_FEWEST_LETTERS = 3
"""Single letters that make it worth while to look for words that are spelt out."""
_SHORTEST_RUN_TOGETHER = 6
"""Letters of a phrase of several words that is also found without the spaces."""


@dataclass(slots=True)
class _Node(Generic[Meaning]):
    """The phrases that begin with the words on the way here; `ends` are those that end here."""

    next: dict[str, _Node[Meaning]] = field(default_factory=dict)
    ends: list[Meaning] = field(default_factory=list)

    def child(self, word: str) -> _Node[Meaning]:
        return self.next.setdefault(word, _Node())


class _Look(NamedTuple):
    """What one chunk of a prompt holds; word positions count within the chunk.

    Attributes:
        plain: its words with spaces between them.
        edges: `(first, last, word)` for each word of the vocabulary that the words `first..last` may be.
        singles: how many of its parts are one character.
        lone: whether it is nothing but a letter that is no word by itself.
    """

    plain: str
    words: tuple[Span, ...]
    edges: tuple[tuple[int, int, str], ...]
    parts: tuple[Part, ...]
    singles: int
    lone: bool


class Reading(Generic[Meaning]):
    """A prompt as the index read it: its normalised text, its words, and the phrases found."""

    def __init__(self, normalised: str, words: Sequence[Word], found: list[tuple[int, int, Meaning]]) -> None:
        self.normalised = normalised
        self.words = words
        self.found = found


class PhraseIndex(Generic[Meaning]):
    """Phrases and what they mean, ready to be found in prompts."""

    def __init__(self, entries: Iterable[tuple[str, Meaning]]) -> None:
        self._root: _Node[Meaning] = _Node()
        split = [([word.text for word in normalise(phrase)], meaning) for phrase, meaning in entries]
        vocabulary: set[str] = set()
        for variants in (_as_listed, _plurals, _run_together):
            for words, meaning in split:
                for variant in variants(words):
                    self._add(variant, meaning)
                    vocabulary.update(variant)
        self._vocabulary = Vocabulary(vocabulary)
        self._remembered = lru_cache(maxsize=_MOST_REMEMBERED)(self._look)

    def read(self, prompt: str) -> Reading[Meaning]:
        """Read a prompt.

        `found` holds `(first, last, meaning)` for each phrase found, `first` and `last` being positions in `words`. Its
        order: by first word, then longer phrases first, then phrases as listed before their plurals.
        """
        folded = fold(prompt)
        if folded.latin is folded.text:
            looks = [self._seen(chunk, chunk) for chunk in folded.text.split()]
        else:
            looks = [self._seen(*pair) for pair in zip(folded.text.split(), folded.latin.split(), strict=True)]
        normalised = " ".join([look.plain for look in looks if look.plain])
        spelt = sum([look.singles for look in looks]) >= _FEWEST_LETTERS or any([look.lone for look in looks])  # noqa: C419
        if not spelt and not any([look.edges for look in looks]):  # noqa: C419 - lists are the faster ones here
            return Reading(normalised, (), [])
        found = list(self._walk(self._lattice(folded, looks, spelt=spelt)))
        return Reading(normalised, _words(folded, looks) if found else (), found)

    def _seen(self, chunk: str, latin: str) -> _Look:
        return self._remembered(chunk, latin) if len(chunk) <= _LONGEST_REMEMBERED else self._look(chunk, latin)

    def _look(self, chunk: str, latin: str) -> _Look:
        if chunk.isalpha() and chunk.isascii():
            known = tuple((0, 0, word) for word in self._vocabulary.resolve(chunk))
            single = len(chunk) == 1
            part = Part(chunk, 0, len(chunk), 0, 0)
            return _Look(chunk, ((chunk, 0, len(chunk)),), known, (part,), int(single), single and chunk not in "ai")
        words = words_of(chunk)
        parts = parts_of(latin, words)
        edges = dict.fromkeys((at, at, text) for at, (text, _, _) in enumerate(words) if text in self._vocabulary)
        for first, last, text in joined(parts):
            edges.update(((first, last, word), None) for word in self._vocabulary.resolve(text))
        singles = sum(part.single for part in parts)
        lone = singles == len(parts) == 1 and parts[0].text.isalpha() and parts[0].text not in {"a", "i"}
        return _Look(" ".join(text for text, _, _ in words), words, tuple(edges), parts, singles, lone)

    def _lattice(
        self, folded: Folded, looks: Sequence[_Look], *, spelt: bool
    ) -> dict[int, dict[tuple[int, str], None]]:
        """By their first word, all words of the prompt that may be read as words of the vocabulary."""
        edges: dict[int, dict[tuple[int, str], None]] = {}
        before = 0
        for look in looks:
            for first, last, word in look.edges:
                edges.setdefault(before + first, {})[before + last, word] = None
            before += len(look.words)
        if spelt:
            for first, last, text in spelt_out(_parts(folded, looks)):
                for word in self._vocabulary.resolve(text):
                    edges.setdefault(first, {})[last, word] = None
        return edges

    def _walk(self, edges: dict[int, dict[tuple[int, str], None]]) -> Iterator[tuple[int, int, Meaning]]:
        for first in sorted(edges):
            found: dict[tuple[int, Meaning], None] = {}
            ahead = [(self._root, first)]
            while ahead:
                node, at = ahead.pop(0)
                for last, word in edges.get(at, ()):
                    following = node.next.get(word)
                    if following is not None:
                        found.update(((last, meaning), None) for meaning in following.ends)
                        ahead.append((following, last + 1))
            for last, meaning in sorted(found, key=lambda one: -one[0]):
                yield first, last, meaning

    def _add(self, words: Sequence[str], meaning: Meaning) -> None:
        if not words:
            return
        node = self._root
        for word in words:
            node = node.child(word)
        if meaning not in node.ends:
            node.ends.append(meaning)


def _words(folded: Folded, looks: Sequence[_Look]) -> list[Word]:
    """All words with their places in the original prompt."""
    return [
        Word(text, *folded.span(start + one, start + end))
        for look, (_, start) in zip(looks, chunks(folded.text), strict=True)
        for text, one, end in look.words
    ]


def _parts(folded: Folded, looks: Sequence[_Look]) -> list[Part]:
    """All parts with their places in the folded prompt."""
    parts: list[Part] = []
    before = 0
    for look, (_, start) in zip(looks, chunks(folded.text), strict=True):
        parts += [part.moved(start, before) for part in look.parts]
        before += len(look.words)
    return parts


def _as_listed(words: list[str]) -> Iterator[list[str]]:
    yield words


def _plurals(words: Sequence[str]) -> Iterator[list[str]]:
    """The phrase with its last word in the regular plural."""
    if words and words[-1].isalpha():
        last = words[-1]
        if not last.endswith(_HISSING):
            yield [*words[:-1], f"{last}s"]
        if last.endswith((*_HISSING, "o")):
            yield [*words[:-1], f"{last}es"]


def _run_together(words: Sequence[str]) -> Iterator[list[str]]:
    """A phrase of several words, and its plurals, without the spaces."""
    text = "".join(words)
    if len(words) > 1 and len(text) >= _SHORTEST_RUN_TOGETHER:
        yield [text]
        yield from _plurals([text])
