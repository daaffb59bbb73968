"""Calibrations: the curve, and what is kept of the fit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from safegen.spm.calibration import KEY, Calibration, Curves, Knot, fit, stored_calibration

_DIGEST = "sha256:" + "0" * 64
_SHARES = st.floats(0, 1)


def fitted(target: list[float], benign: list[float], prompts: tuple[str, ...] = ()) -> Calibration:
    return fit(
        target,
        benign,
        phrases=("cat",),
        benign_prompts=prompts,
        source=_DIGEST,
        space=_DIGEST,
        encoder=_DIGEST,
    )


@given(st.lists(_SHARES, min_size=1, max_size=30), st.lists(_SHARES, max_size=30), _SHARES, _SHARES)
def test_gamma_is_monotone_and_exactly_zero_below_the_cutoff(
    target: list[float], benign: list[float], left: float, right: float
) -> None:
    """Whatever a curve was fitted on: what is more similar never opens less, and 0 means 0."""
    calibration = fitted(target, benign)
    low, high = sorted((left, right))
    assert calibration.permeability(low) <= calibration.permeability(high)
    assert calibration.permeability(1.0) == 1.0
    assert all(calibration.permeability(x) == 0.0 for x in (low, high) if x < calibration.cutoff)


@given(st.lists(st.floats(0, 0.4), min_size=1, max_size=200), st.lists(st.floats(0.7, 1), min_size=1, max_size=20))
def test_what_stands_apart_is_told_apart(benign: list[float], target: list[float]) -> None:
    """No benign prompt of the fit opens the gate, and at least half of the concept's open it fully."""
    calibration = fitted(target, benign)
    assert calibration.benign.open == 0
    assert np.mean([calibration.permeability(x) == 1.0 for x in target]) >= 0.5


def test_a_concept_that_meaning_does_not_tell_apart_opens_for_its_words_alone() -> None:
    """Ordinary prompts as similar as the concept's own close the gate to meaning; a similarity of 1 opens it."""
    calibration = fitted([0.5, 0.6], [0.55] * 10)
    assert (calibration.permeability(0.99), calibration.permeability(1.0)) == (0.0, 1.0)


def test_a_few_prompts_that_read_like_the_concept_are_named_and_left_out() -> None:
    """A synonym among the benign prompts does not close the gate for the concept."""
    calibration = fitted([0.9] * 10, [0.95] + [0.1] * 199, ("a moggy", *["a house"] * 199))
    assert calibration.confused == ("a moggy",)
    assert calibration.permeability(0.9) == 1.0


def test_a_calibration_survives_the_file() -> None:
    """Metadata holds it as JSON; damaged JSON is as good as none."""
    calibration = fitted([0.9], [0.1])
    assert stored_calibration({KEY: calibration.to_metadata()}) == calibration
    assert stored_calibration({KEY: "{}"}) is stored_calibration({}) is None


@pytest.mark.parametrize("gammas", [(0.6, 0.5), (0.0, 0.9)])
def test_a_curve_that_falls_or_never_opens_is_refused(gammas: tuple[float, float]) -> None:
    """A file cannot bring a curve that breaks the laws."""
    broken = fitted([0.9], [0.1]).model_dump()
    broken["curve"] = [{"similarity": at, "gamma": gamma} for at, gamma in zip((0.3, 0.6), gammas, strict=True)]
    with pytest.raises(ValidationError):
        Calibration.model_validate(broken)


@given(st.lists(st.lists(_SHARES, min_size=1, max_size=4, unique=True), min_size=1, max_size=5), _SHARES)
def test_many_curves_give_what_each_gives_alone(places: list[list[float]], similarity: float) -> None:
    """Curves of different lengths stand side by side."""
    curves = [
        [Knot(similarity=at, gamma=(number + 1) / len(own)) for number, at in enumerate(sorted(own))] for own in places
    ]
    together = Curves(curves).values(np.full(len(curves), similarity))
    alone = [Curves([curve]).values(np.array([similarity]))[0] for curve in curves]
    assert together.tolist() == alone
