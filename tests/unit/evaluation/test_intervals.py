"""Confidence intervals."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safegen.evaluation.intervals import bootstrap, wilson


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_an_interval_holds_its_share_and_stays_within_0_and_1(case: tuple[int, int]) -> None:
    """For any hits of any trials."""
    low, high = wilson(*case)
    assert 0 <= low <= case[0] / case[1] <= high <= 1


def test_no_hit_of_twenty_still_leaves_a_sixth_open() -> None:
    """The published interval for 0 of 20 (Wilson): up to .161."""
    assert wilson(0, 20) == (0.0, pytest.approx(0.1611, abs=1e-3))


def test_nothing_tried_says_nothing() -> None:
    """The whole range."""
    assert wilson(0, 0) == (0.0, 1.0)


def test_more_hits_than_trials_are_a_mistake() -> None:
    """Said at once."""
    with pytest.raises(ValueError, match="3 hits of 2"):
        wilson(3, 2)


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=40))
def test_a_bootstrap_interval_holds_its_mean(values: list[float]) -> None:
    """Also for one value, where it has no width."""
    low, high = bootstrap(values)
    assert low <= sum(values) / len(values) + 1e-9
    assert high >= sum(values) / len(values) - 1e-9


def test_a_bootstrap_of_nothing_is_not_a_number() -> None:
    """Rather than 0."""
    assert all(math.isnan(value) for value in bootstrap([]))
