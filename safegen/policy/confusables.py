"""Characters that look like a Latin letter.

Invariant: the table is read once and never changes.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files


def latin_letter(character: str) -> str:
    """The letter a..z that a character looks like; empty if it looks like none."""
    return _letters().get(character, "")


@cache
def _letters() -> dict[str, str]:
    return {look: line[0] for line in _lines() for look in line[2:]}


def _lines() -> list[str]:
    text = files("safegen.policy").joinpath("confusables.txt").read_text(encoding="utf-8")
    return [line for line in text.splitlines() if not line.startswith("#")]
