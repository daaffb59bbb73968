"""Overlap of adapters' updates."""

from __future__ import annotations

import pytest
import torch

from safegen.spm import SpmFile
from safegen.spm.crosstalk import overlaps


def spm(seed: int, rank: int = 1, scale: float = 1.0) -> SpmFile:
    draw = torch.Generator().manual_seed(seed)
    layers = {
        name: (torch.randn(rank, 6, generator=draw) * scale, torch.randn(5, rank, generator=draw), 2.0)
        for name in ("one", "two")
    }
    return SpmFile(layers=layers, metadata={}, digest="sha256:0")


def dense(file: SpmFile) -> torch.Tensor:
    return torch.cat([(alpha / down.shape[0] * (up @ down)).flatten() for down, up, alpha in file.layers.values()])


def test_overlap_is_the_cosine_of_the_full_updates() -> None:
    """What is computed from the factors is the cosine of the updates written out, also for ranks that differ."""
    one, other = spm(1), spm(2, rank=3)
    expected = torch.nn.functional.cosine_similarity(dense(one), dense(other), dim=0)
    assert overlaps({"a": one, "b": other})["a", "b"] == pytest.approx(float(expected), abs=1e-6)


def test_an_adapter_overlaps_fully_with_itself_and_not_with_nothing() -> None:
    """The overlap of equal updates is 1, of opposite ones -1, of a zero one 0."""
    pairs = overlaps({"a": spm(1), "b": spm(1), "c": spm(1, scale=-1.0), "d": spm(1, scale=0.0)})
    assert pairs["a", "b"] == pytest.approx(1)
    assert pairs["a", "c"] == pytest.approx(-1)
    assert pairs["a", "d"] == 0
