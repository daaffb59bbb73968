"""Words in disguise: letters swapped for digits and symbols, letters repeated, spaced out or punctuated.

Invariants: whole words only, so that `sex` is never found inside a longer run of letters; which words a text may be is
answered from a table whose size is that of the vocabulary, at a cost that depends on the text alone.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from safegen.policy.confusables import is_ordinary
from safegen.policy.normalise import Span

_READINGS = {
    "a": "4@",
    "b": "86",
    "c": "¢",
    "e": "3€",
    "g": "96",
    "h": "#",
    "i": "1!|",
    "l": "1!|",
    "o": "0",
    "s": "5$",
}
_READINGS |= {"t": "7+", "z": "2"}
_SYMBOLS = "@$!|+€¢#"
_LOOSE = re.compile(rf"[a-z0-9{re.escape(_SYMBOLS)}]+")
_SKELETON = str.maketrans("1!|l4@8¢3€9#05$7+2", "iiiiaabceeghossttz")
_REPEATED = re.compile(r"(.)\1+")
_EDGES = "!|+#"
_SHORTEST = 3
_SHORT = 4
_LONGEST_JOINED = 48
_MOST_JOINED = 24
_ARTICLES = frozenset("ai")
_VOWELS = frozenset("aeiouy")


class Part(NamedTuple):
    """A run of letters, digits and the symbols that stand for letters.

    `first..last` are the words that it covers; if it covers none, `first` is the next one and `last` the one before.
    """

    text: str
    start: int
    end: int
    first: int
    last: int

    @property
    def single(self) -> bool:
        """Whether it is one character."""
        return len(self.text) == 1

    def moved(self, characters: int, words: int) -> Part:
        """The same part of a longer text."""
        return Part(self.text, self.start + characters, self.end + characters, self.first + words, self.last + words)


class Vocabulary:
    """Words that are looked for, to be found behind their disguises."""

    def __init__(self, words: Iterable[str]) -> None:
        self._words = frozenset(words)
        self._by_skeleton: dict[str, list[str]] = {}
        self._patterns: dict[str, re.Pattern[str]] = {}
        for word in self._words:
            if len(word) >= _SHORTEST and word.isascii():
                self._by_skeleton.setdefault(_skeleton(word), []).append(word)

    def __contains__(self, word: str) -> bool:
        return word in self._words

    def resolve(self, text: str) -> Iterator[str]:
        """The words that a text may stand for: itself, and those that it disguises."""
        if text.isalpha() and not _REPEATED.search(text):
            if text in self._words:
                yield text
            return
        for shown in dict.fromkeys((text, text.rstrip(_EDGES), text.lstrip(_EDGES), text.strip(_EDGES))):
            if shown in self._words:
                yield shown
            for key in _skeletons(shown):
                for word in self._by_skeleton.get(key, ()):
                    if word != shown and self._disguises(shown, word):
                        yield word

    def _disguises(self, shown: str, word: str) -> bool:
        pattern = self._patterns.get(word)
        if pattern is None:
            pattern = self._patterns[word] = _pattern(word)
        if shown.isdecimal() or not pattern.fullmatch(shown):
            return False
        return not shown.isalpha() or _plainly_repeated(shown, word)


def _skeletons(text: str) -> tuple[str, ...]:
    """The skeletons of a text: a 6 may stand for a g, for a b, or for itself."""
    plain = _skeleton(text)
    if "6" not in text:
        return (plain,)
    return tuple({plain, _skeleton(text.replace("6", "b")), _skeleton(text.replace("6", "g"))})


def _skeleton(text: str) -> str:
    read = text.translate(_SKELETON)
    return _REPEATED.sub(r"\1", read) if _REPEATED.search(read) else read


def _pattern(word: str) -> re.Pattern[str]:
    """A word with each letter in any of its readings, and at least as often as it stands there."""
    parts = []
    for run in re.finditer(r"(.)\1*", word):
        letter = run[1]
        readings = re.escape(letter + _READINGS.get(letter, ""))
        parts.append(f"[{readings}]{{{len(run[0])},}}")
    return re.compile("".join(parts))


def _plainly_repeated(shown: str, word: str) -> bool:
    """Whether letters are repeated as no ordinary word repeats them."""
    if is_ordinary(shown):
        return False
    runs = [(run[0], len(run[0])) for run in re.finditer(r"(.)\1*", shown)]
    own = [len(run[0]) for run in re.finditer(r"(.)\1*", word)]
    longer = [(run, at) for at, ((run, length), least) in enumerate(zip(runs, own, strict=True)) if length > least]
    if len(word) > _SHORT or len(longer) > 1 or any(len(run) > 2 for run, _ in longer):  # noqa: PLR2004 - a double
        return True
    run, at = longer[0]
    at_the_end = at == len(runs) - 1
    return run not in {"ee", "oo", "ll"} and not (at_the_end and run[0] not in _VOWELS)


def parts_of(chunk: str, words: Sequence[Span]) -> tuple[Part, ...]:
    """The parts of a text without white space, in Latin letters where possible; `words` are those of its plain form."""
    starts, ends = [word[1] for word in words], [word[2] for word in words]
    return tuple(
        Part(
            found[0],
            found.start(),
            found.end(),
            bisect_right(ends, found.start()),
            bisect_left(starts, found.end()) - 1,
        )
        for found in _LOOSE.finditer(chunk)
    )


def joined(parts: Sequence[Part]) -> Iterator[tuple[int, int, str]]:
    """Parts of one chunk read together: `(first word, last word, text)`; a run of single letters is not cut."""
    for begin, part in enumerate(parts):
        if begin and part.single and parts[begin - 1].single and parts[begin - 1].text not in _ARTICLES:
            continue
        text = ""
        for at in range(begin, min(begin + _MOST_JOINED, len(parts))):
            text += parts[at].text
            if len(text) > _LONGEST_JOINED:
                break
            if parts[at].single and at + 1 < len(parts) and parts[at + 1].single:
                continue
            if part.first <= parts[at].last:
                yield part.first, parts[at].last, text


def spelt_out(parts: Sequence[Part]) -> Iterator[tuple[int, int, str]]:
    """Letters that stand alone across white space, read together, also with a neighbour that lacks them."""
    at = 0
    while at < len(parts):
        end = at
        while end < len(parts) and parts[end].single:
            end += 1
        if end > at:
            yield from _run(parts, at, end)
        at = max(end, at + 1)


def _run(parts: Sequence[Part], begin: int, end: int) -> Iterator[tuple[int, int, str]]:
    """The readings of the run of single letters `begin:end`."""
    if end - begin >= _SHORTEST:
        yield from _together(parts, begin, end)
        if parts[begin].text in _ARTICLES:
            yield from _together(parts, begin + 1, end)
        yield from _segments(parts, begin, end)
    if end - begin == 1 and parts[begin].text in _ARTICLES:
        return
    for first, last in ((begin - 1, end), (begin, end + 1), (begin - 1, end + 1)):
        if first >= 0 and last <= len(parts):
            for found in _together(parts, first, last):
                if len(found[2]) >= _SHORT:
                    yield found


def _segments(parts: Sequence[Part], begin: int, end: int) -> Iterator[tuple[int, int, str]]:
    """Letters with narrow gaps between wide ones: each such word."""
    gaps = [parts[at + 1].start - parts[at].end for at in range(begin, end - 1)]
    narrow = min(gaps)
    cuts = [begin, *(begin + at + 1 for at, gap in enumerate(gaps) if gap > narrow), end]
    if len(cuts) > 2:  # noqa: PLR2004 - begin and end
        for first, last in pairwise(cuts):
            yield from _together(parts, first, last)


def _together(parts: Sequence[Part], begin: int, end: int) -> Iterator[tuple[int, int, str]]:
    text = "".join(part.text for part in parts[begin:end])
    if len(text) <= _LONGEST_JOINED and parts[begin].first <= parts[end - 1].last:
        yield parts[begin].first, parts[end - 1].last, text
