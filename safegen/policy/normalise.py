"""Prompts as words that can be compared, each with its place in the original text.

Invariants: what is the same word compares alike (compatibility forms, case, diacritics, invisible characters,
prompt syntax); every word knows the span of the original text that it came from; normalising a normalised text changes
nothing, unless it is shown backwards, and then stands at the end once more. What merely looks like a word is for
`disguise`.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from typing import NamedTuple, TypeAlias

from safegen.policy.confusables import latin_letter
from safegen.policy.escapes import unescaped
from safegen.policy.mirrors import overridden, turned_round, upside_down

_BLANK_LETTERS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u3164\uffa0")
"""Characters that draw nothing, though Unicode files them under letters or marks."""
_NUMBER = r"\s*+[+-]?\s*+(?:\d++(?:\.\d*+)?|\.\d++)\s*+"
_WEIGHT = re.compile(rf"(?:\s*+:{_NUMBER})++(?=[)\]}}])")
"""The weight in `(word:1.3)`; it stands before a closing bracket. It never backtracks, whatever a prompt holds."""
_TAG = re.compile(r"<[a-z][a-z_]*:[^<>]*>")
"""A tag that loads weights, e.g. `<lora:name:0.8>`; its words count, and do not part those around it."""
_BREAK = re.compile(r"\bBREAK\b")
_WEIGHT_BEHIND = re.compile(
    r"(?<=::)[+-]?(?:\d++(?:\.\d*+)?|\.\d++)|[(\[{][^()\[\]{}]*+[)\]}]([+-]?(?:\d++(?:\.\d*+)?|\.\d++)|\++|-++)(?![^\s,.;)\]}])"
)
"""The weight in `(word)1.3`, `(word)++` or `word::2`."""
BARRIER = "\ue000"
"""Stands between texts that are read one after the other and do not belong together; nobody else can write it."""
_FILLER = "."
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1b\x7f]")
_ASCII_WORD = re.compile("[a-z0-9]+")
_CHUNK = re.compile(r"\S+")
_FIRST_DIACRITIC_CLASS = 200
_LEAST_VISIBLE_VARIATION, _LAST_VARIATION = "\ufe00", "\ufe0f"
_SUPPLEMENTARY_VARIATIONS = ("\U000e0100", "\U000e01ef")
_MOST_REMEMBERED = 1 << 15
_MOST_ESCAPED = 3
"""Escapes inside escapes that are undone."""

Span: TypeAlias = tuple[str, int, int]
"""A piece of text and where it begins and ends."""


@dataclass(frozen=True, slots=True)
class Word:
    """One word: its comparable form and the span `start:end` of the original text."""

    text: str
    start: int
    end: int


class _Cell(NamedTuple):
    """One comparable character, the Latin letter that it looks like, and the span of the text that it came from."""

    text: str
    latin: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Folded:
    """A text in comparable characters.

    Attributes:
        text: the comparable characters.
        latin: as long as `text`, with Latin letters in the place of those that look like them.
        starts: for each character, where it begins in the original; None if at its own position.
        ends: likewise, where it ends.
    """

    text: str
    latin: str
    starts: tuple[int, ...] | None = None
    ends: tuple[int, ...] | None = None

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The span of the original text that the characters `start:end` came from."""
        if self.starts is None or self.ends is None:
            return start, end
        return min(self.starts[start], self.starts[end - 1]), max(self.ends[start], self.ends[end - 1])


def normalise(text: str) -> tuple[Word, ...]:
    """The words of a text, in order."""
    folded = fold(text)
    return tuple(
        Word(word, *folded.span(chunk_start + start, chunk_start + end))
        for chunk, chunk_start in chunks(folded.text)
        for word, start, end in words_of(chunk)
    )


def join(words: tuple[Word, ...]) -> str:
    """The normalised text: the words with single spaces between them."""
    return " ".join(word.text for word in words)


def chunks(text: str) -> list[tuple[str, int]]:
    """What stands between white space, and where."""
    return [(found[0], found.start()) for found in _CHUNK.finditer(text)]


def words_of(chunk: str) -> tuple[Span, ...]:
    """The words of a text without white space, in comparable characters."""
    if chunk.isascii():
        return tuple((found[0], found.start(), found.end()) for found in _ASCII_WORD.finditer(chunk))
    words: list[Span] = []
    at = 0
    for kind, group in groupby(chunk, key=_kind):
        members = list(group)
        if kind == "word":
            words.append(("".join(members), at, at + len(members)))
        elif kind == "alone":
            words.extend((one, at + offset, at + offset + 1) for offset, one in enumerate(members))
        at += len(members)
    return tuple(words)


def fold(text: str, *, layers: int = _MOST_ESCAPED) -> Folded:
    """A text in comparable characters, without prompt syntax; `layers` of escapes are undone.

    What is shown backwards stands at the end once more, as it is shown.
    """
    plain = unescaped(text) if layers else None
    if plain is None:
        return _fold_plain(text)
    inner = fold(plain.text, layers=layers - 1)
    starts, ends = inner.starts or range(len(plain.text)), inner.ends or range(1, len(plain.text) + 1)
    return Folded(
        inner.text,
        inner.latin,
        tuple(plain.starts[at] for at in starts),
        tuple(plain.ends[at - 1] for at in ends),
    )


def _fold_plain(text: str) -> Folded:
    if "BREAK" in text and not text.isupper():
        text = _BREAK.sub(lambda found: _FILLER * len(found[0]), text)
    if text.isascii() and not _CONTROL.search(text):
        lowered = text.lower()
        folded = Folded(lowered, lowered)
    else:
        folded = _fold_characters(text)
    if ":" in folded.text or (")" in folded.text and _WEIGHT_BEHIND.search(folded.text)):
        folded = _without_syntax(folded)
    return folded


def _without_syntax(folded: Folded) -> Folded:
    """Weights and tags filled up, so that what stands around them is side by side; words of tags come last."""
    text, latin = _filled_behind(_filled(_WEIGHT, folded.text)), folded.latin
    tags = [found.span() for found in _TAG.finditer(text)]
    if text != folded.text:
        latin = "".join(
            new if new == _FILLER != old else one for new, old, one in zip(text, folded.text, latin, strict=True)
        )
    if not tags:
        return Folded(text, latin, folded.starts, folded.ends)
    starts = folded.starts or tuple(range(len(text)))
    ends = folded.ends or tuple(range(1, len(text) + 1))
    for start, end in tags:
        inner = slice(start + 1, end - 1)
        text, latin = f"{text} {text[inner]}", f"{latin} {latin[inner]}"
        starts += (starts[start], *starts[inner])
        ends += (ends[start], *ends[inner])
        hole = _FILLER * (end - start)
        text, latin = text[:start] + hole + text[end:], latin[:start] + hole + latin[end:]
    return Folded(text, latin, starts, ends)


def _filled(pattern: re.Pattern[str], text: str) -> str:
    return pattern.sub(lambda found: _FILLER * len(found[0]), text)


def _filled_behind(text: str) -> str:
    for found in reversed(list(_WEIGHT_BEHIND.finditer(text))):
        start, end = found.span(1) if found[1] else found.span()
        text = text[:start] + _FILLER * (end - start) + text[end:]
    return text


def _fold_characters(text: str) -> Folded:
    """Comparable characters; a base character and its combining marks are folded together."""
    cells: list[_Cell] = []
    for cluster, start, end in _clusters(text):
        out, look = _fold(cluster)
        cells += [_Cell(one, seen, start, end) for one, seen in zip(out, look, strict=True)]
    cells += list(_backwards(text, cells))
    return Folded(
        "".join([cell.text for cell in cells]),
        "".join([cell.latin for cell in cells]),
        tuple([cell.start for cell in cells]),
        tuple([cell.end for cell in cells]),
    )


def _backwards(text: str, cells: Sequence[_Cell]) -> Iterator[_Cell]:
    """What is shown backwards, as it is shown, each piece after a space."""
    span = overridden(text)
    if span is not None:
        starts = [cell.start for cell in cells]
        yield from _apart(cells[bisect_left(starts, span[0]) : bisect_left(starts, span[1])][::-1])
    turned = upside_down([cell.text for cell in cells], [cell.latin for cell in cells])
    if turned is not None:
        shown = [(turned_round(cell.text, cell.latin), cell) for cell in cells[slice(*turned)]]
        upright = [_Cell(look, look, cell.start, cell.end) for look, cell in shown]
        yield from _apart(upright[::-1])
        yield from _apart(upright)


def _apart(cells: Sequence[_Cell]) -> Iterator[_Cell]:
    if cells:
        yield from (_Cell(one, one, cells[0].start, cells[0].end) for one in f" {BARRIER} ")
    yield from cells


def _clusters(text: str) -> list[Span]:
    """Visible characters, each with the marks that combine with it."""
    found: list[Span] = []
    for position, character in enumerate(text):
        if is_invisible(character):
            continue
        for part in character if character.isascii() else _mark_first(character):
            if found and not part.isascii() and unicodedata.category(part)[0] == "M":
                cluster, start, _ = found[-1]
                found[-1] = (cluster + part, start, position + 1)
            else:
                found.append((part, position, position + 1))
    return found


@lru_cache(maxsize=_MOST_REMEMBERED)
def _mark_first(character: str) -> str:
    """A letter that decomposes into a mark and a letter (Thai sara am), decomposed: the mark is of what precedes."""
    decomposed = unicodedata.normalize("NFKD", character)
    return decomposed if unicodedata.category(decomposed[0])[0] == "M" else character


@lru_cache(maxsize=_MOST_REMEMBERED)
def _fold(cluster: str) -> tuple[str, str]:
    """NFKD, diacritics off, casefold, twice, because casefolding can bring back what decomposes; and its Latin look."""
    folded = _undecorated(cluster) if len(cluster) > 1 else cluster
    for _ in range(2):
        decomposed = unicodedata.normalize("NFKD", folded)
        bare = "".join(one for one in decomposed if not _is_diacritic(one) and not is_invisible(one))
        folded = unicodedata.normalize("NFKD", bare.casefold())
    look = latin_letter(cluster[0]) or latin_letter(unicodedata.normalize("NFKD", cluster)[:1])
    if len(folded) == 1 and not folded.isascii() and look:
        return folded, look
    return folded, "".join(latin_letter(one) or one for one in folded)


def _undecorated(cluster: str) -> str:
    """A Latin letter, a digit, a sign, or what looks like one, without marks of whatever script; else the cluster."""
    base = unicodedata.normalize("NFKD", cluster[0])[:1].casefold()
    return cluster[0] if base.isascii() or latin_letter(base) else cluster


def _is_diacritic(character: str) -> bool:
    """Accents and overlays, but not the marks that tell letters apart in Indic, Thai or Japanese writing."""
    order = unicodedata.combining(character)
    return order == 1 or order >= _FIRST_DIACRITIC_CLASS


@lru_cache(maxsize=_MOST_REMEMBERED)
def is_invisible(character: str) -> bool:
    """Zero-width, bidirectional, control and variation characters; white space is none of them."""
    if character.isascii():
        return not character.isprintable() and not character.isspace()
    if _LEAST_VISIBLE_VARIATION <= character <= _LAST_VARIATION or character in _BLANK_LETTERS:
        return True
    first, last = _SUPPLEMENTARY_VARIATIONS
    if first <= character <= last:
        return True
    return unicodedata.category(character) in {"Cf", "Cc", "Cs", "Co"} and not character.isspace()


@lru_cache(maxsize=_MOST_REMEMBERED)
def _kind(character: str) -> str:
    """`word` joins its neighbours, `alone` is a word of its own (a pictograph, an ideograph), `gap` separates."""
    category = unicodedata.category(character)
    if category == "So" or unicodedata.name(character, "").startswith("CJK UNIFIED IDEOGRAPH"):
        return "alone"
    return "word" if character.isalnum() or category.startswith("M") else "gap"
