"""Normalisation: what compares alike, and where it came from."""

from __future__ import annotations

import pytest

from safegen.policy.normalise import join, normalise


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SÁNTA  Claus", "santa claus"),
        ("\uff43\uff41\uff54 \U0001d4ec\U0001d4ea\U0001d4fd", "cat cat"),
        ("c\u200ba\u00adt \u202ecat\u2066", "cat cat tac"),
        ("c\u3164at ca\ufe0ft", "cat cat"),
        ("straße STRASSE", "strasse strasse"),
        ("(santa:1.2) claus", "santa claus"),
        ("((santa claus:1.3):0.9)", "santa claus"),
        ("water-gun, cat's", "water gun cat s"),
        ("cat\x00\ttail\n", "cat tail"),
        ("🔫🔫", "🔫 🔫"),
        ("...", ""),
    ],
)
def test_lookalikes_compare_alike(text: str, expected: str) -> None:
    """Case, accents, compatibility forms, invisible characters and prompt weights make no difference."""
    assert join(normalise(text)) == expected


def test_words_keep_their_place() -> None:
    """A word's span covers exactly the characters that it was read from."""
    text = "  a Ca\u0301\u200bT!"
    assert [text[word.start : word.end] for word in normalise(text)] == ["a", "Ca\u0301\u200bT"]


def test_marks_that_tell_letters_apart_stay() -> None:
    """Japanese voicing and Indic vowels are part of a word, as they change which word it is."""
    assert normalise("か")[0].text != normalise("が")[0].text
    assert len(normalise("बिल्ली")) == 1
