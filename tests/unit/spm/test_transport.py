"""Facilitated Transport as published."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from safegen.spm import PaperStack, unigram_overlap
from safegen.spm.transport import bounded


def test_overlap_is_the_share_of_the_concepts_tokens() -> None:
    """s_t = |T(c) & T(p)| / |T(c)|, over sets, and 0 for an empty concept."""
    assert unigram_overlap([1, 2, 3], [2, 9]) == 0.5
    assert unigram_overlap([1, 1], [1, 1, 1]) == 1.0
    assert unigram_overlap([1], []) == 0.0


def test_the_paper_takes_the_greater_of_cosine_and_overlap() -> None:
    """max(s_f, s_t): a cosine of 0.6 loses against a full overlap and wins against none."""
    stack = PaperStack()
    stack.add("near", torch.tensor([[0.6, 0.8]]), [2])
    stack.add("away", torch.tensor([[-1.0, 0.0]]), [3])
    prompt = torch.tensor([[1.0, 0.0]])
    assert stack.compare(prompt, [1]) == pytest.approx({"near": 0.6, "away": 0.0})
    assert stack.compare(prompt, [2, 3]) == {"near": 1.0, "away": 1.0}


@given(st.floats(0, 1), st.floats(0.01, 4), st.floats(0, 4), st.floats(0, 4), st.floats(0, 4))
def test_a_gate_stays_within_its_bounds_and_is_exactly_zero_below_its_cutoff(
    opened: float, strength: float, first: float, second: float, cutoff: float
) -> None:
    """gamma is 0, or between floor and ceiling; below the cut-off it is exactly 0."""
    floor, ceiling = min(first, second), max(first, second)
    gamma = float(bounded(opened, strength, floor, ceiling, cutoff))
    raw = strength * opened
    assert gamma == 0 if raw < cutoff or raw == 0 else floor <= gamma <= ceiling


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0.01, 4))
def test_a_gate_is_monotone(left: float, right: float, strength: float) -> None:
    """What is more similar never opens less."""
    low, high = (float(bounded(share, strength, 0.1, 2.0, 0.2)) for share in sorted((left, right)))
    assert low <= high
