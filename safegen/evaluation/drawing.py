"""Draws many prompts at once, for measuring.

Invariant: a prompt and its seed always stand at the same place of the same batch, so that two runs of one list differ
by what is attached, and by nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from safegen.models import DrawRequest
from safegen.spm import Attached, attach

if TYPE_CHECKING:
    from PIL.Image import Image

    from safegen.models import BaseModel

BATCH = 16


@dataclass(frozen=True, slots=True)
class Sampler:
    """How pictures are drawn: side in pixels, denoising steps, guidance scale, what to steer away from."""

    size: int = 64
    steps: int = 20
    guidance: float = 3.0
    negative_prompt: str = ""


def draw_all(
    base: BaseModel,
    prompts: Sequence[tuple[str, int]],
    sampler: Sampler,
    *,
    spms: Sequence[Attached] = (),
    progress: Callable[[int], None] | None = None,
) -> list[Image]:
    """Draw (prompt, seed) pairs with the SPMs attached; `progress` is told how many were drawn."""
    pictures: list[Image] = []
    with attach(base.targets(), spms):
        for start in range(0, len(prompts), BATCH):
            batch = prompts[start : start + BATCH]
            texts, seeds = zip(*batch, strict=True)
            request = DrawRequest(
                texts, seeds, sampler.negative_prompt, sampler.size, sampler.size, sampler.steps, sampler.guidance
            )
            pictures += base.draw(request).images
            if progress:
                progress(len(batch))
    return pictures
