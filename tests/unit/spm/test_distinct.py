"""One concept is not erased twice at once."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from safegen.errors import AdapterDuplicateError
from safegen.spm import Attached, SpmFile, attach


def spm(digest: str, **metadata: str) -> SpmFile:
    return SpmFile({"lora_unet_a": (torch.ones(1, 3), torch.ones(2, 1), 1.0)}, metadata, digest)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (spm("sha256:1", concept="cat"), spm("sha256:2", concept="Cat ")),
        (spm("sha256:1"), spm("sha256:1")),
    ],
)
def test_a_concept_twice_in_one_set_is_refused(one: SpmFile, other: SpmFile) -> None:
    """Two open SPMs of one concept, or one file, are an error that names both, and the module stays as it was."""
    module = nn.Linear(3, 2)
    weight = module.weight
    with (
        pytest.raises(AdapterDuplicateError, match="first and second erase the same concept"),
        attach({"a": module}, [Attached(one, 1.0, "first"), Attached(other, 0.5, "second")]),
    ):
        pass
    assert module.weight is weight


def test_different_concepts_and_closed_twins_are_no_duplicates() -> None:
    """Other concepts go together, and what is closed does not count."""
    spms = [Attached(spm("sha256:1", concept="cat"), 1.0), Attached(spm("sha256:2", concept="dog"), 1.0)]
    with attach({"a": nn.Linear(3, 2)}, [*spms, Attached(spm("sha256:3", concept="dog"), 0.0)]) as active:
        assert active == 2
