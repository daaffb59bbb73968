"""Prompts for `benchmarks/policy.py`: a hundred forbidden phrases, their disguises, and ordinary captions.

The disguises are made here, from tables of their own, and share no code with what must see through them.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path


def _words(section: str) -> tuple[str, ...]:
    """The entries of one section of the word lists."""
    lists = Path(__file__).with_suffix(".txt").read_text(encoding="utf-8")
    body = lists.split(f"[{section}]\n")[1].split("\n[")[0]
    return tuple(" ".join(one.split()) for one in body.split(";"))


PHRASES = _words("forbidden")[:100]

HOMOGLYPHS = dict(zip("aceiopsxyhjkmtbnvdwgl", "асеіорѕхуһјкмтьп\u03bd\u0501\u051d\u0261\u217c", strict=True))
LEET = {"a": "4@", "b": "8", "e": "3", "g": "9", "i": "1!", "l": "1|", "o": "0", "s": "5$", "t": "7+", "z": "2"}
INVISIBLE = "\u200b\u200c\u200d\u2060\ufeff\u00ad\u202a\u202e\u2066\u2069\u061c"
MARKS = "\u0301\u0300\u0308\u0327\u0323\u0304\u0336"
CARRIERS = (
    "a photo of {} at dusk",
    "{}",
    "portrait of {}, oil on canvas",
    "two friends and {} in a park",
    "best quality, {}, 8k",
)


def disguises() -> dict[str, Callable[[str, random.Random], str]]:
    """Each technique by name."""
    return {
        "case": lambda text, draw: "".join(draw.choice((one.upper(), one.lower())) for one in text),
        "full width": lambda text, _: "".join(chr(ord(one) + 0xFEE0) if "!" <= one <= "~" else one for one in text),
        "mathematical letters": lambda text, draw: _shifted(
            text, draw.choice((0x1D41A, 0x1D44E + 26, 0x1D4D0 + 26, 0x1D5EE))
        ),
        "circled letters": lambda text, _: _shifted(text, 0x24D0),
        "zero width": lambda text, draw: _between(text, draw, INVISIBLE, 0.6),
        "bidirectional": lambda text, draw: f"\u202e{_between(text, draw, INVISIBLE[6:], 0.4)}\u202c",
        "homoglyphs": lambda text, draw: _swapped(text, draw, HOMOGLYPHS, 0.7),
        "leetspeak": lambda text, draw: _swapped(text, draw, LEET, 0.7),
        "spaced out": lambda text, draw: ("   " if draw.random() < 0.5 else "  ").join(
            " ".join(word) for word in text.split()
        ),
        "punctuated": lambda text, draw: " ".join(draw.choice(".-_*~/").join(word) for word in text.split()),
        "one cut": _cut,
        "diacritics": lambda text, draw: _between(text, draw, MARKS, 0.6),
        "repeated letters": _repeated,
        "weights": lambda text, draw: " ".join(f"({word}:{draw.uniform(0.5, 1.9):.2f})" for word in text.split()),
        "brackets": lambda text, draw: " ".join(
            draw.choice(("[{}]", "(({}))", "{{{}}}")).format(word) for word in text.split()
        ),
        "BREAK": lambda text, _: " BREAK ".join(text.split()) if " " in text else f"BREAK {text} BREAK",
        "LoRA tags": lambda text, draw: f" <lora:{draw.choice(('detail', 'film'))}:0.8> ".join(
            text.split() * (2 if " " not in text else 1)
        ),
        "inside a LoRA tag": lambda text, _: f"<lora:{text.replace(' ', '_')}:1>",
        "weighted piece": _weighted,
        "hashtag": lambda text, _: "#" + text.replace(" ", ""),
        "hyphens and underscores": lambda text, draw: text.replace(" ", draw.choice("-_")),
        "homoglyphs and zero width": lambda text, draw: _between(
            _swapped(text, draw, HOMOGLYPHS, 0.5), draw, INVISIBLE, 0.4
        ),
        "leetspeak and repeats": lambda text, draw: _swapped(_repeated(text, draw), draw, LEET, 0.4),
        "spaced leetspeak": lambda text, draw: "  ".join(
            " ".join(_swapped(word, draw, LEET, 0.4)) for word in text.split()
        ),
        "diacritics in weights": lambda text, draw: f"({_between(text, draw, MARKS, 0.4)}:1.3)",
    }


def evasions(*, each: int, seed: int = 20) -> Iterator[tuple[str, str, str]]:
    """Yield `(technique, phrase, prompt)`, `each` variants of every phrase and technique."""
    draw = random.Random(seed)
    for name, disguise in disguises().items():
        for phrase in PHRASES:
            for _ in range(each):
                yield name, phrase, draw.choice(CARRIERS).format(disguise(phrase, draw))


def _shifted(text: str, first: int) -> str:
    return "".join(chr(first + ord(one) - ord("a")) if "a" <= one <= "z" else one for one in text)


def _between(text: str, draw: random.Random, marks: str, share: float) -> str:
    return "".join(one + (draw.choice(marks) if one.isalpha() and draw.random() < share else "") for one in text)


def _swapped(text: str, draw: random.Random, table: dict[str, str], share: float) -> str:
    return "".join(draw.choice(table[one]) if one in table and draw.random() < share else one for one in text)


def _repeated(text: str, draw: random.Random) -> str:
    at = draw.choice([place for place, one in enumerate(text) if one.isalpha()])
    return "".join(
        one * draw.randint(3, 5) if place == at or draw.random() < 0.15 else one for place, one in enumerate(text)
    )


def _cut(text: str, draw: random.Random) -> str:
    words = text.split()
    at = max(range(len(words)), key=lambda place: len(words[place]))
    place = draw.randint(1, len(words[at]) - 1)
    words[at] = words[at][:place] + draw.choice(".-_*'") + words[at][place:]
    return " ".join(words)


def _weighted(text: str, draw: random.Random) -> str:
    words = text.split()
    at = max(range(len(words)), key=lambda place: len(words[place]))
    begin = draw.randint(1, max(1, len(words[at]) - 2))
    words[at] = f"{words[at][:begin]}({words[at][begin : begin + 2]}:1.2){words[at][begin + 2 :]}"
    return " ".join(words)


SCUNTHORPE_LIST = _words("scunthorpe")


def captions(count: int, *, seed: int = 7) -> list[str]:
    """That many different ordinary captions."""
    draw = random.Random(seed)
    subjects, styles, places, looks = (_words(name) for name in ("subjects", "styles", "places", "looks"))
    found: dict[str, None] = {}
    while len(found) < count:
        subject, other = draw.sample(subjects, 2)
        look, another = draw.sample(looks, 2)
        found[
            draw.choice(
                (
                    f"A {look} {subject} {draw.choice(places)}, {draw.choice(styles)}",
                    f"{draw.choice(styles)} of a {look} {subject} and a {another} {other} {draw.choice(places)}",
                    f"({look} {subject}:{draw.uniform(0.8, 1.4):.1f}), {another}, {draw.choice(styles)}",
                    f"The {subject} next to the {look} {other}, {draw.choice(places)} -- {draw.choice(styles)}!",
                    f"masterpiece, best quality, 1 {subject}, [{other}], {look}, {draw.choice(places)}",
                )
            )
        ] = None
    return list(found)
