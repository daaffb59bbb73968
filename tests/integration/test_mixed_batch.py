"""Prompts with different permeabilities in one batch, on the shipped base."""

from __future__ import annotations

import numpy as np
import pytest

from safegen.models import BaseModel, DrawRequest
from safegen.spm import Attached, GuidanceHalves, Registry, attach

PROMPTS = ("a dog in the style of noto", "a cat in the style of noto", "a mermaid in the style of fluent")
GAMMAS = {"sticker/cat": (0.0, 1.0, 0.0), "sticker/mermaid": (0.0, 0.0, 0.7)}


def drawn(base: BaseModel, prompts: tuple[str, ...], seeds: tuple[int, ...], guidance: float = 3.0) -> list[np.ndarray]:
    request = DrawRequest(prompts, seeds, "", 64, 64, 8, guidance)
    return [np.asarray(image).astype(int) for image in base.draw(request).images]


def attached(base: BaseModel, registry: Registry, row: int | None = None) -> list[Attached]:
    entry = registry.base("sticker")
    return [
        Attached(registry.load_adapter(name, base=entry), gammas if row is None else gammas[row], name)
        for name, gammas in GAMMAS.items()
    ]


@pytest.mark.parametrize(("halves", "guidance"), [("both", 3.0), ("conditional", 3.0), ("both", 1.0)])
def test_each_picture_is_what_it_would_be_alone(
    base: BaseModel, registry: Registry, halves: GuidanceHalves, guidance: float
) -> None:
    """A mixed batch draws, for each prompt, the picture that the prompt gets alone; a closed row gets the bare one."""
    targets = base.targets()
    bare = drawn(base, PROMPTS, (0, 1, 2), guidance)
    with attach(targets, attached(base, registry), guidance_halves=halves):
        mixed = drawn(base, PROMPTS, (0, 1, 2), guidance)
    assert np.abs(mixed[0] - bare[0]).max() <= 1
    for row, prompt in enumerate(PROMPTS):
        with attach(targets, attached(base, registry, row), guidance_halves=halves):
            alone = drawn(base, (prompt,), (row,), guidance)[0]
        assert np.abs(mixed[row] - alone).max() <= 1
    assert np.abs(mixed[1] - bare[1]).mean() > 5
    for before, after in zip(bare, drawn(base, PROMPTS, (0, 1, 2), guidance), strict=True):
        assert np.array_equal(before, after)
