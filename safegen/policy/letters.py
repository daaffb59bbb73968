"""What stands for which letter in disguised words, and the key under which disguises of a word are found.

Invariants: a word and every disguise of it that the tables know have equal keys; whether a text really disguises a word
is then decided letter by letter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import groupby, islice, product

SIGNS = "@$!|+€¢#£§&^*%¥©×†°µ"
"""Symbols that may stand for letters; `*` stands for any."""
PAD = "\x01"
"""Fills up a shape of several characters that was replaced by the letter that it shows."""

_SINGLE = {
    "a": "4@^",
    "b": "86",
    "c": "¢©(<",
    "e": "3€£&",
    "g": "96",
    "h": "#",
    "i": "1!|",
    "l": "1!|",
    "o": "0°",
    "s": "5$§",
    "t": "7+†",
    "u": "µ",
    "x": "%×",
    "y": "¥",
    "z": "2",
}
_GROUPS = {"w": ("vv",), "f": ("ph",)}
"""Letters that together stand for one, as believable as signs are."""
_LETTERS = {"u": "v", "c": "k", "k": "cq", "s": "z", "z": "s", "i": "y"}
_SOUNDS = {"m": ("rn",), "x": ("ks", "cks"), "k": ("ck",), "c": ("ck",)}
"""Letters that stand for others; only believed in long words, where no ordinary word is spelt like that."""
_SPELLINGS = (("vv", "w"), ("ph", "f"), ("rn", "m"), ("cks", "x"), ("ks", "x"))
_ALIKE = str.maketrans("vcqzy", "ukksi")
_SHAPES = {
    "/\\/\\": "m", "|\\/|": "m", "/v\\": "m", "|v|": "m", "\\/\\/": "w", "\\^/": "w", "|\\|": "n", "/\\/": "n",
    "|-|": "h", "]-[": "h", "}{": "h", "|_|": "u", "(_)": "u", "|<": "k", "|{": "k", "|)": "d", "|]": "d", "[)": "d",
    "|>": "p", "|*": "p", "|3": "b", "|=": "f", "|2": "r", "|_": "l", "()": "o", "[]": "o", "{}": "o", "<>": "o",
    "><": "x", "\\/": "v", "/-\\": "a", "/\\": "a", "_|": "j", "_/": "j",
}  # fmt: skip
"""Drawings of a letter in several characters."""
_SHAPE = re.compile("|".join(map(re.escape, sorted(_SHAPES, key=len, reverse=True))))
_DRAWN = re.compile(rf"[{re.escape(''.join(sorted(set(''.join(_SHAPES)) - set('v23'))))}]{{2,}}")
_PUNCTUATION = "-=*_^"
_MOST_STROKES = 64
_MOST_DRAWN = 12
"""Ways to read drawn letters that are tried."""
_KEY = str.maketrans("1!|lyj4@^869g¢©(<kq3€£&#0°5$§z27+†µvw%×¥", "iiiiiiaaabbbbcccccceeeehoossssstttuuuxxi")
_LOOSE = f"[a-z0-9{re.escape(SIGNS)}]"
_BRACKET_OR_C = re.compile("[(<]")
_INNER_BRACKET = re.compile(rf"(?:(?<={_LOOSE})\(|<)(?={_LOOSE})")
_MEANINGS = {
    sign: "".join(letter for letter, signs in _SINGLE.items() if sign in signs)
    for sign in set("".join(_SINGLE.values()))
}
_MOST_PATTERNS = 1 << 13
_REPEATED = re.compile(r"(.)\1")
_RUN = re.compile(r"(.)\1*")


def key(word: str) -> str:
    """What all disguises of a word have in common."""
    return key_of_plain(plain_key(word))


def key_of_plain(read: str) -> str:
    """The key of a word, given its plain key."""
    if "x" in read or "ph" in read or "rn" in read:
        return collapsed(read.replace("x", "cs").replace("ph", "f").replace("rn", "m"))
    return read


def plain_key(word: str) -> str:
    """The key of a word in which every letter stands for itself; a piece of the word has a piece of the key."""
    return collapsed(word.translate(_KEY))


def letter_by_letter(word: str) -> str:
    """The key of a word whose letters all stand there, none more often than it should."""
    return word.translate(_KEY)


def respelt(word: str) -> str:
    """What a word has in common with other spellings of it, in plain letters."""
    for letters, sound in _SPELLINGS:
        word = word.replace(letters, sound)
    return collapsed(word.translate(_ALIKE))


def collapsed(text: str) -> str:
    """The text with each run of a character cut down to one."""
    return "".join([one for one, _ in groupby(text)]) if _REPEATED.search(text) else text


@lru_cache(maxsize=_MOST_PATTERNS)
def signs_for(word: str) -> re.Pattern[str]:
    """A word with signs in the place of letters, each at least as often as the letter stands there."""
    return _pattern(word, _SINGLE, _GROUPS)


@lru_cache(maxsize=_MOST_PATTERNS)
def letters_for(word: str) -> re.Pattern[str]:
    """A word with signs and other letters in the place of its own."""
    both = {letter: _SINGLE.get(letter, "") + _LETTERS.get(letter, "") for letter in {*_SINGLE, *_LETTERS}}
    return _pattern(
        word, both, {letter: _GROUPS.get(letter, ()) + _SOUNDS.get(letter, ()) for letter in {*_GROUPS, *_SOUNDS}}
    )


def _pattern(word: str, single: Mapping[str, str], groups: Mapping[str, tuple[str, ...]]) -> re.Pattern[str]:
    parts = []
    for run in _RUN.finditer(word):
        letter = run[1]
        one = f"[{re.escape(letter + single.get(letter, ''))}]"
        options = "|".join((*groups.get(letter, ()), one))
        parts.append(f"(?:{options}){{{len(run[0])},}}")
    return re.compile("".join(parts))


def masked(shown: str) -> re.Pattern[str]:
    """The words that a text with `*` in the place of letters may stand for."""
    return re.compile("".join("[a-z]" if one == "*" else f"[{_MEANINGS.get(one, one)}]" for one in shown))


def shapes_read(text: str) -> Iterator[str]:
    """A text with drawn letters as letters, filled up to its length, in each way that they can be told apart."""
    if _SHAPE.search(text):
        yield from islice(dict.fromkeys((_SHAPE.sub(_letter_of, text), *_covers(text))), _MOST_DRAWN)
    if ("(" in text and ")" not in text) or ("<" in text and ">" not in text):
        signed = any(one in SIGNS or one.isdecimal() for one in text)
        yield (_BRACKET_OR_C if signed else _INNER_BRACKET).sub("c", text)


def drawn_word(readings: Sequence[str]) -> tuple[tuple[str, int, int], ...]:
    """The one word of a chunk that holds nothing but drawn letters, from the first of its readings."""
    word = readings[0].replace(PAD, "") if readings else ""
    return ((word, 0, len(readings[0])),) if len(word) > 1 else ()


def _letter_of(shape: re.Match[str]) -> str:
    return _SHAPES[shape[0]].ljust(len(shape[0]), PAD)


def _covers(text: str) -> Iterator[str]:
    """The text with each run of strokes cut into drawings without a rest, where that can be done."""
    runs = [list(islice(_readings(run[0]), _MOST_DRAWN)) or [run[0]] for run in _DRAWN.finditer(text)]
    for choice in islice(product(*runs), _MOST_DRAWN):
        letters = iter(choice)
        yield _DRAWN.sub(lambda _, letters=letters: next(letters), text)  # type: ignore[misc]


def _readings(strokes: str) -> Iterator[str]:
    """The strokes as drawings without a rest, marks of punctuation around them aside."""
    yield from _cuts(strokes)
    bare = strokes.strip(_PUNCTUATION)
    if bare and bare != strokes:
        before, after = strokes.split(bare, 1)
        yield from (before + one + after for one in _cuts(bare))


def _cuts(strokes: str) -> list[str]:
    """The ways to cut strokes into drawings without a rest."""
    if len(strokes) > _MOST_STROKES:
        return []
    ways: list[list[str]] = [[""]]
    for start in range(len(strokes) - 1, -1, -1):
        found = []
        for length in (4, 3, 2):
            letter = _SHAPES.get(strokes[start : start + length])
            if letter is not None and start + length <= len(strokes):
                found += [letter.ljust(length, PAD) + rest for rest in ways[-length]]
        ways.append(found[:_MOST_DRAWN])
    return ways[-1]
