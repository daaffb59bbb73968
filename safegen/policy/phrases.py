"""Finding many phrases in one prompt at once, as whole words, disguised or not.

Invariants: a phrase matches whole words only; its last word also matches in the regular plural; the time to search
grows with the length of the prompt and not with the number of phrases.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Generic, NamedTuple, TypeVar

from safegen.policy.disguise import Vocabulary
from safegen.policy.letters import SIGNS, drawn_word, shapes_read
from safegen.policy.normalise import BARRIER, Folded, Span, Word, chunks, fold, normalise, words_of
from safegen.policy.ordinary import is_ordinary
from safegen.policy.spelling import BREAK, Part, Piece, is_ragged, joined, mended, parts_of, piece_of, spelt_out

Meaning = TypeVar("Meaning")
_HISSING = ("s", "x", "z", "ch", "sh")
_MOST_REMEMBERED = 1 << 15
_LONGEST_REMEMBERED = 64
_FEWEST_LETTERS = 3
"""Single letters that make it worth while to look for words that are spelt out."""
_SHORTEST_RUN_TOGETHER = 6
"""Letters of a phrase of several words that is also found without the spaces."""
_SIGNS = frozenset(SIGNS)
_AROUND_WORDS = ",.;:?\"'"


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
        parts: what words may be put together from; None if the chunk is one word of plain letters.
        piece: its only part, if there is but one.
        ragged: whether the piece is no word by itself.
        begins: whether a word that is looked for may begin with the piece.
        ends: whether one may end with it.
        singles: how many of its parts are one character.
        barrier: whether what stands before and behind it does not belong together.
    """

    plain: str
    words: tuple[Span, ...]
    edges: tuple[tuple[int, int, str], ...]
    parts: tuple[Part, ...] | None
    piece: str | None
    ragged: bool
    begins: bool
    ends: bool
    singles: int
    barrier: bool = False

    @property
    def letters(self) -> tuple[Part, ...]:
        """Its parts."""
        if self.parts is not None:
            return self.parts
        text, start, end = self.words[0]
        return (Part(text, start, end, 0, 0),)


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
        self._longest_cut = 2 * max(map(len, vocabulary), default=0)
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
        spelt = sum([look.singles for look in looks]) >= _FEWEST_LETTERS
        cut = any([look.ragged and (look.begins or look.ends) for look in looks])  # noqa: C419 - lists are faster here
        if not (spelt or cut or any([look.edges for look in looks])):  # noqa: C419
            return Reading(normalised, (), [])
        edges = self._lattice(folded, looks, spelt=spelt, cut=cut)
        found = list(self._walk(edges)) if edges else []
        return Reading(normalised, _words(folded, looks) if found else (), found)

    def _seen(self, chunk: str, latin: str) -> _Look:
        return self._remembered(chunk, latin) if len(chunk) <= _LONGEST_REMEMBERED else self._look(chunk, latin)

    def _look(self, chunk: str, latin: str) -> _Look:
        word = chunk.strip(_AROUND_WORDS)
        return self._plain_look(chunk, word) if word.isalpha() and chunk.isascii() else self._close_look(chunk, latin)

    def _plain_look(self, chunk: str, word: str) -> _Look:
        """A word of plain letters, with punctuation around it at most."""
        start = 0 if chunk is word else chunk.index(word)
        words, begins, ends = self._vocabulary.plain(word)
        edges = tuple([(0, 0, one) for one in words]) if words else ()
        single = 1 if word == word[0] * len(word) else 0
        span = (word, start, start + len(word))
        return _Look(word, (span,), edges, None, word, not is_ordinary(word), begins, ends, single)

    def _close_look(self, chunk: str, latin: str) -> _Look:
        drawn = list(shapes_read(latin))
        words = words_of(chunk) or drawn_word(drawn)
        edges = dict.fromkeys((at, at, text) for at, (text, _, _) in enumerate(words) if text in self._vocabulary)
        views = [parts_of(one, words) for one in (*drawn, latin)]
        if not _SIGNS.isdisjoint(latin):
            views += [parts_of(latin, words, signs=one) for one in ("surely", "none")]
        for parts in views:
            for first, last, text in joined(parts):
                edges.update(((first, last, word), None) for word in self._vocabulary.resolve(text))
        parts = views[0]
        piece = piece_of(parts) if len(parts) == 1 else "" if chunk == BREAK else None
        begins, ends = (self._vocabulary.begins(piece), self._vocabulary.ends(piece)) if piece else (False, False)
        singles = sum(part.single for part in parts)
        shown = " ".join(text for text, _, _ in words)
        ragged = piece is not None and is_ragged(piece)
        return _Look(shown, words, tuple(edges), parts, piece, ragged, begins, ends, singles, chunk == BARRIER)

    def _lattice(
        self, folded: Folded, looks: Sequence[_Look], *, spelt: bool, cut: bool
    ) -> dict[int, dict[tuple[int, str], None]]:
        """By their first word, all words of the prompt that may be read as words of the vocabulary."""
        edges: dict[int, dict[tuple[int, str], None]] = {}
        before = 0
        for look in looks:
            for first, last, word in look.edges:
                edges.setdefault(before + first, {})[before + last, word] = None
            before += len(look.words)
        joints = list(mended(_pieces(looks), self._longest_cut)) if cut else []
        if spelt:
            for parts in _parts(folded, looks):
                joints += spelt_out(parts, self._vocabulary.knows)
        for first, last, text in joints:
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


def _pieces(looks: Sequence[_Look]) -> list[Piece | None]:
    """The chunks as pieces of words, those without letters left out."""
    pieces: list[Piece | None] = []
    before = 0
    for look in looks:
        if look.piece is not None:
            last = before + len(look.words) - 1
            pieces.append(Piece(look.piece, before, last, look.ragged, look.begins, look.ends))
        elif look.parts or look.barrier:
            pieces.append(None)
        before += len(look.words)
    return pieces


def _parts(folded: Folded, looks: Sequence[_Look]) -> list[list[Part]]:
    """All parts with their places in the folded prompt, those beyond a barrier in a list of their own."""
    parts: list[list[Part]] = [[]]
    before = 0
    for look, (_, start) in zip(looks, chunks(folded.text), strict=True):
        if look.barrier:
            parts.append([])
        parts[-1] += [part.moved(start, before) for part in look.letters]
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
