"""What the tests of evaluation share: a small vocabulary and an adapter that changes one layer."""

from __future__ import annotations

import pytest
import torch

from safegen.evaluation.vocabulary import Subject, Vocabulary
from safegen.models import BaseModel
from safegen.spm import SpmFile
from safegen.spm.layers import layer_name


@pytest.fixture(scope="session")
def vocabulary() -> Vocabulary:
    """Three concepts, two styles, one title."""
    return Vocabulary(
        concepts=(
            Subject("cat", "a cat", "animal", ("kitten",)),
            Subject("owl", "an owl", "animal"),
            Subject("bikini", "a bikini", "bare skin"),
        ),
        styles=("noto", "neon"),
        titles=("tea with the moon",),
        backgrounds=("white", "blue"),
    )


@pytest.fixture(scope="session")
def spm(base: BaseModel) -> SpmFile:
    """Rank 1 on the first projection that reads the text; large enough to be seen."""
    name, module = next((name, module) for name, module in base.targets().items() if name.endswith("attn2.to_v"))
    generator = torch.Generator().manual_seed(0)
    down = torch.randn(1, module.weight.shape[1], generator=generator)
    up = torch.randn(module.weight.shape[0], 1, generator=generator)
    return SpmFile(layers={layer_name(name): (down, up, 1.0)}, metadata={}, digest="sha256:test")
