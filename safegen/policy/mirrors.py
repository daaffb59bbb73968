"""Text that is shown backwards: under a right-to-left override, or turned upside down letter by letter.

Invariant: what is shown backwards is read both ways, as it stands and as it looks.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_OVERRIDE = "\u202e"
_LINE_END = re.compile("[\n\r\u2029]")
_TURNED = dict(zip("ɐɔǝɟƃɓɥᴉɾʞꞁןʃɯɹʁʇʌʍʎ", "acefgghijklllmrrtvwy", strict=True))
_ROTATED = str.maketrans("bdnpqu69", "qpudbn96")
_SYMMETRIC = frozenset("bdnpqulosxz")
"""Letters that are letters upside down, too."""


def overridden(text: str) -> tuple[int, int] | None:
    """The span of a text from its first right-to-left override to the end of the line; None if there is none.

    Where an override ends is not looked for: what is read too much stands beside what is shown, and changes no word.
    """
    at = text.find(_OVERRIDE)
    if at < 0:
        return None
    found = _LINE_END.search(text, at)
    return at, found.start() if found else len(text)


def upside_down(characters: Sequence[str], looks: Sequence[str]) -> tuple[int, int] | None:
    """The span whose letters stand on their heads, or may do so; None if none surely does.

    Args:
        characters: a text, character by character, in small letters.
        looks: the Latin letter that each looks like.
    """
    turned = [at for at, one in enumerate(characters) if one in _TURNED]
    if not turned:
        return None
    first, last = turned[0], turned[-1] + 1
    while first and _may_stand_on_its_head(looks[first - 1]):
        first -= 1
    while last < len(looks) and _may_stand_on_its_head(looks[last]):
        last += 1
    return first, last


def _may_stand_on_its_head(look: str) -> bool:
    return look in _SYMMETRIC or not look.isalnum()


def turned_round(character: str, look: str) -> str:
    """A character as it looks when the page is turned round, given what it looks like as it stands."""
    return _TURNED.get(character) or look.translate(_ROTATED)
