"""Words in disguise: letters swapped for signs, drawn, masked, repeated.

Invariants: whole words only, so that `sex` is never found inside a longer run of letters; which words a text may be is
answered from a table whose size is that of the vocabulary, at a cost that depends on the text alone.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from typing import NamedTuple

from safegen.policy.letters import (
    key,
    key_of_plain,
    letter_by_letter,
    letters_for,
    masked,
    plain_key,
    respelt,
    signs_for,
)
from safegen.policy.ordinary import is_ordinary

LONGEST = 48
"""Characters of a text that may be a word in disguise."""
_RUN = re.compile(r"(.)\1*")
_LETTER_RUN = re.compile(r"([^*])\1+")
_MANY_TIMES = re.compile(r"([^*])\1{2,}")
_EDGES = "!|+#*&^%£§°"
_HEAD = 4
_SURE_SIGNS = "@$€£"
_EDGE_SIGNS = frozenset(_EDGES)
_MOST_STRIPPED = 4
_SHORTEST = 3
_SHORT = 4
_SHORTEST_MASKED = 4
_SHORTEST_RESPELT = 5
_VOWELS = frozenset("aeiouy")


NOTHING: tuple[str, ...] = ()


class Plain(NamedTuple):
    """What a text of plain letters may be: the words, and whether it may begin or end others."""

    words: tuple[str, ...]
    begins: bool
    ends: bool


_NO_WORDS = tuple(tuple(Plain(NOTHING, begins, ends) for ends in (False, True)) for begins in (False, True))
"""What most texts may be: by far the most common answers exist once, which spares the garbage collector."""


class Vocabulary:
    """Words that are looked for, to be found behind their disguises."""

    def __init__(self, words: Iterable[str]) -> None:
        self.words = frozenset(words)
        self._by_key: dict[str, list[str]] = {}
        for word in self.words:
            if len(word) >= _SHORTEST and word.isascii():
                self._by_key.setdefault(key(word), []).append(word)

    def __contains__(self, word: str) -> bool:
        return word in self.words

    def resolve(self, text: str) -> Iterator[str]:
        """The words that a text may stand for: itself, and those that it disguises."""
        if text.isalpha():
            yield from self.plain(text).words
            return
        for shown in _without_edges(text):
            if shown in self.words:
                yield shown
            yield from self._disguised(shown, key(shown))
            if "*" in shown:
                yield from self._masked(shown)

    def knows(self, text: str) -> bool:
        """Whether a text is a word that is looked for, or one with signs in the place of letters."""
        return text in self.words or (not text.isalpha() and any(self._disguised(text, key(text))))

    def plain(self, text: str) -> Plain:
        """What a text of nothing but letters may be."""
        read = plain_key(text)
        under = key_of_plain(read)
        begins, ends = self._keys.go_on_from(read), self._keys_backwards.go_on_from(read[::-1])
        if under in self._by_key or text in self.words:
            return Plain((*([text] if text in self.words else ()), *self._disguised(text, under)), begins, ends)
        return _NO_WORDS[begins][ends]

    def begins(self, text: str) -> bool:
        """Whether a word that is looked for, or its disguise, may begin with a text and go on."""
        return self._keys.go_on_from(plain_key(text))

    def ends(self, text: str) -> bool:
        """Whether a word that is looked for, or its disguise, may end with a text that is not all of it."""
        return self._keys_backwards.go_on_from(plain_key(text)[::-1])

    def _disguised(self, shown: str, under: str) -> Iterator[str]:
        for word in self._by_key.get(under, ()):
            if word != shown and _disguises(shown, word):
                yield word

    def _masked(self, shown: str) -> Iterator[str]:
        """Words with `*` for some of their letters, and the words that such signs only part."""
        bare = shown.replace("*", "")
        yield from self.resolve(bare)
        shown = _MANY_TIMES.sub(r"\1", shown)
        stars = shown.count("*")
        if len(shown) < _SHORTEST_MASKED or stars * 2 > len(shown) or "*" in {shown[0], shown[-1]}:
            return
        if len(shown) == _SHORTEST_MASKED and not bare.isalpha():
            return
        yield from self._unmasked(shown, lambda word: word)
        if _one_each(shown) != shown:
            yield from self._unmasked(_one_each(shown), _one_each)

    def _unmasked(self, shown: str, form: Callable[[str], str]) -> Iterator[str]:
        """Words whose form has the letters that are shown."""
        pattern, start = masked(shown), letter_by_letter(shown[: shown.index("*")])
        for at in range(bisect_left(self._letter_by_letter, (start, "")), len(self._letter_by_letter)):
            read, word = self._letter_by_letter[at]
            if not read.startswith(start):
                return
            if pattern.fullmatch(form(word)):
                yield word

    @cached_property
    def _letter_by_letter(self) -> list[tuple[str, str]]:
        return sorted((letter_by_letter(word), word) for word in self.words)

    @cached_property
    def _keys(self) -> _Beginnings:
        return _Beginnings({plain_key(word) for word in self.words})

    @cached_property
    def _keys_backwards(self) -> _Beginnings:
        return _Beginnings({plain_key(word)[::-1] for word in self.words})


def _disguises(shown: str, word: str) -> bool:
    if not shown.isalpha():
        if not _has_letters(shown, word):
            return False
        believed = letters_for(word) if len(word) >= _SHORT else signs_for(word)
        return believed.fullmatch(shown) is not None
    if is_ordinary(shown):
        return False
    if _one_each(shown) == _one_each(word):
        return _plainly_repeated(shown, word)
    return _may_be_respelt(shown, word) and respelt(shown) == respelt(word)


class _Beginnings:
    """Texts, to be asked whether one of them begins in some way and goes on."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._ordered = sorted(texts)
        self._heads = frozenset(text[:_HEAD] for text in self._ordered)
        self._short = frozenset(text[:length] for text in self._ordered for length in range(min(_HEAD, len(text))))

    def go_on_from(self, start: str) -> bool:
        """Whether a longer text begins with this one."""
        if len(start) < _HEAD:
            return start in self._short
        if start[:_HEAD] not in self._heads:
            return False
        at = bisect_right(self._ordered, start)
        return at < len(self._ordered) and self._ordered[at].startswith(start)


def _without_edges(text: str) -> Iterator[str]:
    """A text, and what is left of it when signs at its ends are none of its letters."""
    for bare in dict.fromkeys((text, text.lstrip(_EDGES))):
        yield bare
        for at in range(len(bare) - 1, max(0, len(bare) - 1 - _MOST_STRIPPED), -1):
            if bare[at] not in _EDGE_SIGNS:
                break
            yield bare[:at]
        else:
            yield bare.rstrip(_EDGES)


def _has_letters(shown: str, word: str) -> bool:
    """Whether enough of a text with signs is no digit: numbers with units (`45s`) and sums stand for no word."""
    digits = sum(one.isdecimal() for one in shown)
    return digits <= max(1, len(word) - 2) and any(one.isalpha() or one in _SURE_SIGNS for one in shown)


def _one_each(text: str) -> str:
    return _LETTER_RUN.sub(r"\1", text)


def _may_be_respelt(shown: str, word: str) -> bool:
    """Whether a word is long enough to be known with other letters, or what is shown is like no other word."""
    return len(word) >= _SHORTEST_RESPELT or "vv" in shown or ("v" in shown and "v" not in word)


def _plainly_repeated(shown: str, word: str) -> bool:
    """Whether letters are repeated as no ordinary word repeats them."""
    runs = [(run[0], len(run[0])) for run in _RUN.finditer(shown)]
    own = [len(run[0]) for run in _RUN.finditer(word)]
    if any(length < least for (_, length), least in zip(runs, own, strict=True)):
        return False
    longer = [(run, at) for at, ((run, length), least) in enumerate(zip(runs, own, strict=True)) if length > least]
    if len(word) > _SHORT or len(longer) > 1 or any(len(run) > 2 for run, _ in longer):  # noqa: PLR2004 - a double
        return True
    run, at = longer[0]
    at_the_end = at == len(runs) - 1
    return run not in {"ee", "oo", "ll"} and not (at_the_end and run[0] not in _VOWELS)
