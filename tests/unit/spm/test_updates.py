"""Permeabilities, and what SPMs add up to."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from safegen.errors import AdapterShapeError
from safegen.spm import Attached, SpmFile
from safegen.spm.updates import compose, group


def spm(rank: int = 1, layer: str = "lora_unet_a") -> SpmFile:
    return SpmFile({layer: (torch.ones(rank, 3), torch.ones(2, rank), 1.0)}, {}, "")


@pytest.mark.parametrize(
    ("gamma", "expected"),
    [
        (0.5, (0.5,)),
        (2, (2.0,)),
        (np.float32(0.5), (0.5,)),
        (torch.tensor(0.5), (0.5,)),
        ([0, 1], (0.0, 1.0)),
        (np.array([0.5, 0.25]), (0.5, 0.25)),
        (torch.tensor([0.5]), (0.5,)),
    ],
)
def test_a_permeability_is_a_number_or_one_a_row(gamma: object, expected: tuple[float, ...]) -> None:
    """Python, numpy and torch numbers, and sequences of them."""
    assert Attached(spm(), gamma).gammas == expected  # type: ignore[arg-type]


@pytest.mark.parametrize("gamma", [float("nan"), [0.1, float("inf")], []])
def test_a_permeability_that_is_no_number_is_refused(gamma: object) -> None:
    """NaN, infinity and nothing at all are misuse."""
    with pytest.raises(ValueError, match="must be finite"):
        _ = Attached(spm(), gamma).gammas  # type: ignore[arg-type]


def test_rows_of_equal_permeabilities_are_one_group() -> None:
    """Grouping is by whole rows; one number counts for all rows."""
    found = group([Attached(spm(), [1, 0, 1]), Attached(spm(), 0.5)])
    assert found.gammas == ((1.0, 0.5), (0.0, 0.5))
    assert found.rows == (0, 1, 0)
    assert group([Attached(spm(), [1, 1]), Attached(spm(), 0.5)]).rows is None


def test_different_numbers_of_rows_are_refused() -> None:
    """Two SPMs cannot speak of two batches."""
    with pytest.raises(ValueError, match="for 2, 3 rows in one batch"):
        group([Attached(spm(), [1, 0]), Attached(spm(), [1, 0, 1])])


def test_closed_spms_are_not_in_the_stack() -> None:
    """What is 0 for every row costs nothing: no term of it is stacked, and no module of it alone is touched."""
    targets = {"a": nn.Linear(3, 2), "b": nn.Linear(3, 2)}
    spms = [Attached(spm(2), [0, 0]), Attached(spm(3), [0, 1]), Attached(spm(1, "lora_unet_b"), 0)]
    updates = compose(targets, spms, group(spms), "exact")
    assert list(updates) == ["a"]
    assert updates["a"].down.shape == (3, 3)


def test_the_released_rule_wants_one_rank() -> None:
    """The script refuses SPMs of different ranks; so does its rule here, closed ones included."""
    spms = [Attached(spm(1), 1.0, "one"), Attached(spm(2), 0.0, "two")]
    with pytest.raises(AdapterShapeError, match="one rank only: one has \\[1\\], two has \\[2\\]"):
        compose({"a": nn.Linear(3, 2)}, spms, group(spms), "released")


def test_the_released_rule_takes_the_alpha_of_the_first_file() -> None:
    """The script builds its network from the first file, even if that file's multiplier is 0."""
    first = SpmFile({"lora_unet_a": (torch.ones(1, 3), torch.ones(2, 1), 8.0)}, {}, "")
    spms = [Attached(first, 0.0), Attached(spm(), 1.0)]
    assert compose({"a": nn.Linear(3, 2)}, spms, group(spms), "released")["a"].gains.tolist() == [[8.0]]
