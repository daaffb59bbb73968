"""Which surrogate token stands for which target token."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safegen.training.alignment import align

ROW = 8
A, CAT, DOG, BY, ANN, SANTA, CLAUS = range(7)


@pytest.mark.parametrize(
    ("target", "surrogate", "expected"),
    [
        ((A, CAT), (A, DOG), [0, 1, 2, 3, 4, 5, 6, 7]),
        ((SANTA, CLAUS, BY, ANN), (DOG, BY, ANN), [0, 1, 1, 2, 3, 4, 6, 7]),
        ((CAT, BY, ANN), (A, DOG, BY, ANN), [0, 2, 3, 4, 5, 6, 6, 7]),
        ((A, CAT, BY, ANN), (A, CAT), [0, 1, 2, 3, 3, 3, 6, 7]),
        ((CAT,), (), [0, 1, 1, 3, 4, 5, 6, 7]),
    ],
    ids=["same length", "one word for two", "two words for one", "without the style", "the empty prompt"],
)
def test_words_heads_ends_and_padding(target: tuple[int, ...], surrogate: tuple[int, ...], expected: list[int]) -> None:
    """Shared words are paired, a name gets the surrogate's head, the end the end, padding its own position."""
    assert align(target, surrogate, ROW) == expected


texts = st.lists(st.integers(0, 4), max_size=ROW - 2).map(tuple)


@given(texts, texts)
def test_every_position_has_one_that_exists(target: tuple[int, ...], surrogate: tuple[int, ...]) -> None:
    """Start goes to start, end to end, and no position falls outside the row."""
    positions = align(target, surrogate, ROW)
    assert len(positions) == ROW
    assert positions[0] == 0
    assert positions[1 + len(target)] == 1 + len(surrogate)
    assert all(0 <= position < ROW for position in positions)


@given(texts)
def test_a_text_is_aligned_with_itself(text: tuple[int, ...]) -> None:
    """Nothing moves where target and surrogate are one text."""
    assert align(text, text, ROW) == list(range(ROW))
