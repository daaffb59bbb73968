"""Characters that a prompt writes as codes: HTML entities, percent signs, and backslashes.

Some text encoders read entities as the characters that they stand for (CLIP's own tokeniser does), and apps pass on
what a browser encoded. Base64 and other codes that no model reads are left alone.

Invariant: every character that comes out knows the span of the text that it came from.
"""

from __future__ import annotations

import html
import re
from typing import NamedTuple

_ESCAPE = re.compile(
    r"&\#[0-9]{1,7};?|&\#[xX][0-9a-fA-F]{1,6};?|&[a-zA-Z]{2,8};|(?:%[0-9a-fA-F]{2})+|\\u[0-9a-fA-F]{4}|\\x[0-9a-fA-F]{2}"
)
_SIGNS = re.compile(r"[&%\\]")


class Unescaped(NamedTuple):
    """A text without escapes, and where each of its characters begins and ends in the original."""

    text: str
    starts: tuple[int, ...]
    ends: tuple[int, ...]


def unescaped(text: str) -> Unescaped | None:
    """The text with every escape replaced by what it stands for; None if it holds none."""
    if not _SIGNS.search(text):
        return None
    parts: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    at = 0
    for found in _ESCAPE.finditer(text):
        meaning = _meaning(found[0])
        if not meaning:
            continue
        parts += [text[at : found.start()], meaning]
        starts += [*range(at, found.start()), *[found.start()] * len(meaning)]
        ends += [*range(at + 1, found.start() + 1), *[found.end()] * len(meaning)]
        at = found.end()
    if at == 0:
        return None
    parts.append(text[at:])
    return Unescaped("".join(parts), (*starts, *range(at, len(text))), (*ends, *range(at + 1, len(text) + 1)))


def _meaning(escape: str) -> str:
    """What an escape stands for; empty if for nothing."""
    if escape[0] == "&":
        meaning = html.unescape(escape)
        return "" if meaning == escape else meaning
    if escape[0] == "\\":
        meaning = chr(int.from_bytes(bytes.fromhex(escape[2:])))
    else:
        meaning = bytes.fromhex(escape.replace("%", "")).decode("utf-8", "replace")
    return "" if "\N{REPLACEMENT CHARACTER}" in meaning or "\ud800" <= meaning[:1] <= "\udfff" else meaning
