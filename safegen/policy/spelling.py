"""Words that were taken apart: letters spaced out or punctuated, words cut in two, letters run together with others.

Invariants: a run of single letters is read as a whole and never cut, so that `e s s e x` holds no `sex`; words are only
put together across white space where one of the pieces is no ordinary word by itself.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

from safegen.policy.disguise import LONGEST
from safegen.policy.letters import PAD, SIGNS
from safegen.policy.normalise import Span
from safegen.policy.ordinary import is_ordinary

_LOOSE = re.compile(rf"[a-z0-9{re.escape(SIGNS)}{PAD}]+")
_SURE = re.compile("[a-z0-9@$€£¢§¥µ]+")
"""Letters, digits, and the signs that hardly ever part letters."""
_PLAIN = re.compile("[a-z0-9]+")
_EXCLAIMED = "!|+"
_AROUND = "!+#"
Signs = Literal["all", "surely", "none"]
_LETTERS: dict[Signs, re.Pattern[str]] = {"all": _LOOSE, "surely": _SURE, "none": _PLAIN}
_MOST_JOINED = 24
_MOST_PIECES = 6
_SHORTEST_RUN = 3
_SHORTEST_SENTENCE = 5
_SHORTEST_JOINED = 4
_LONGEST_SEGMENT = 20
_ARTICLES = frozenset("ai")
_DEAR = 3
"""What a letter that is no word costs in a sentence, where each word costs 1."""

BREAK = "....."
"""What `BREAK` leaves behind."""

Joint = tuple[int, int, str]
"""First and last word, and the text that they may be together."""


class Part(NamedTuple):
    """A run of letters, digits and the signs that stand for letters.

    `first..last` are the words that it covers; if it covers none, `first` is the next one and `last` the one before.
    """

    text: str
    start: int
    end: int
    first: int
    last: int

    @property
    def single(self) -> bool:
        """Whether it is one character, once or more."""
        return len(set(self.text)) == 1

    def moved(self, characters: int, words: int) -> Part:
        """The same part of a longer text."""
        return Part(self.text, self.start + characters, self.end + characters, self.first + words, self.last + words)


def parts_of(chunk: str, words: Sequence[Span], *, signs: Signs = "all") -> tuple[Part, ...]:
    """The parts of a text without white space, in Latin letters where possible; `words` are those of its plain form.

    Signs are letters: `all` of them, those that `surely` are, or `none`; the rest part letters.
    """
    starts, ends = [word[1] for word in words], [word[2] for word in words]
    return tuple(
        Part(
            _bare(found[0]),
            found.start(),
            found.end(),
            bisect_right(ends, found.start()),
            bisect_left(starts, found.end()) - 1,
        )
        for found in _LETTERS[signs].finditer(chunk)
    )


def _bare(text: str) -> str:
    """A text without what fills up its drawings, and without marks around a lone letter."""
    text = text.replace(PAD, "")
    bare = text.strip(_AROUND)
    return bare if len(bare) == 1 and bare.isalnum() else text


def joined(parts: Sequence[Part]) -> Iterator[Joint]:
    """Parts of one chunk read together; a run of single letters is not cut."""
    for begin, part in enumerate(parts):
        if begin and part.single and parts[begin - 1].single and parts[begin - 1].text not in _ARTICLES:
            continue
        text = ""
        for at in range(begin, min(begin + _MOST_JOINED, len(parts))):
            text += parts[at].text
            if len(text) > LONGEST or (at > begin and _is_number(parts[at].text)):
                break
            if parts[at].single and at + 1 < len(parts) and parts[at + 1].single:
                continue
            if part.first <= parts[at].last:
                yield part.first, parts[at].last, text


def _is_number(text: str) -> bool:
    """Whether a part is a number and no letter in disguise."""
    return len(text) > 1 and text.isdecimal()


class Piece(NamedTuple):
    """What a chunk may add to a word that was cut by white space: its text and its words; an empty one joins others.

    Attributes:
        ragged: no word by itself.
        begins: whether a word that is looked for may begin with it.
        ends: whether one may end with it.
    """

    text: str
    first: int
    last: int
    ragged: bool
    begins: bool
    ends: bool

    @property
    def single(self) -> bool:
        """Whether it is one character."""
        return len(self.text) == 1


def piece_of(parts: Sequence[Part]) -> str | None:
    """The text of a chunk's only part as a piece of a word; None if it is nothing but signs."""
    text = parts[0].text
    if not any(one.isalnum() for one in text):
        return None
    bare = text.rstrip(_EXCLAIMED)
    return bare if bare.isalpha() else text


def is_ragged(piece: str) -> bool:
    """Whether a piece is no word by itself, and no number."""
    return not is_ordinary(piece) if piece.isalpha() else not piece.isdecimal()


def mended(pieces: Sequence[Piece | None], longest: int) -> Iterator[Joint]:
    """Neighbouring pieces read together, if one of them is ragged; None parts them."""
    for begin, piece in enumerate(pieces):
        if piece is None or not piece.begins:
            continue
        if piece.single and ((begin and _is_single(pieces[begin - 1])) or _is_article(pieces, begin)):
            continue
        text, ragged, whole = piece.text, piece.ragged, not piece.single
        for at in range(begin + 1, min(begin + _MOST_PIECES, len(pieces))):
            other = pieces[at]
            if other is None or len(text) + len(other.text) > longest:
                break
            text += other.text
            ragged, whole = ragged or other.ragged, whole or not other.single
            if not (ragged and whole and other.ends) or len(text) < _SHORTEST_JOINED or piece.first > other.last:
                continue
            if not (other.single and at + 1 < len(pieces) and _is_single(pieces[at + 1])):
                yield piece.first, other.last, text


def _is_single(piece: Piece | None) -> bool:
    return piece is not None and piece.single


def _is_article(pieces: Sequence[Piece | None], at: int) -> bool:
    """Whether a letter is a word by itself, as what follows it is one, too."""
    letter, other = pieces[at], pieces[at + 1] if at + 1 < len(pieces) else None
    return letter is not None and letter.text in _ARTICLES and not (other is not None and other.ragged)


def spelt_out(parts: Sequence[Part], known: Callable[[str], bool]) -> Iterator[Joint]:
    """Letters that stand alone across white space, read together: as a word, as words, as a sentence."""
    at = 0
    while at < len(parts):
        end = at
        while end < len(parts) and parts[end].single:
            end += 1
        if end - at >= _SHORTEST_RUN:
            yield from _run(parts[at:end], known)
        at = max(end, at + 1)


def _run(letters: Sequence[Part], known: Callable[[str], bool]) -> Iterator[Joint]:
    yield from _together(letters)
    plain = [part for part in letters if part.text.isalnum()]
    if len(plain) < len(letters):
        yield from _together(plain)
    if letters[0].text in _ARTICLES:
        yield from _together(letters[1:])
    gaps = [other.start - one.end for one, other in pairwise(letters)]
    narrow = min(gaps)
    cuts = [0, *(at + 1 for at, gap in enumerate(gaps) if gap > narrow), len(letters)]
    if len(cuts) > 2:  # noqa: PLR2004 - begin and end
        for first, last in pairwise(cuts):
            yield from _together(letters[first:last])
    if len(letters) >= _SHORTEST_SENTENCE:
        yield from _sentence(letters, known)


def _together(letters: Sequence[Part]) -> Iterator[Joint]:
    text = "".join(part.text for part in letters)
    if text and len(text) <= LONGEST and letters[0].first <= letters[-1].last:
        yield letters[0].first, letters[-1].last, text


def _sentence(letters: Sequence[Part], known: Callable[[str], bool]) -> Iterator[Joint]:
    """The fewest words that a run of letters may be: ordinary ones, and those that are looked for."""
    text = "".join(part.text for part in letters)
    costs, befores = [0], [0]
    for end in range(1, len(text) + 1):
        cost, before = costs[end - 1] + (1 if text[end - 1] in _ARTICLES else _DEAR), end - 1
        for start in range(max(0, end - _LONGEST_SEGMENT), end - 2):
            if costs[start] + 1 < cost and (is_ordinary(text[start:end]) or known(text[start:end])):
                cost, before = costs[start] + 1, start
        two = text[end - 2 : end]
        if end > 1 and costs[end - 2] + 1 < cost and is_ordinary(two):
            cost, before = costs[end - 2] + 1, end - 2
        costs.append(cost)
        befores.append(before)
    end = len(text)
    while end:
        start = befores[end]
        if end - start >= _SHORTEST_RUN:
            yield from _together(letters[start:end])
        end = start
