"""Does the base draw what it is asked for? Judged by the independent judge, over all concepts and styles."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from safegen.evaluation.drawing import Sampler, draw_all

if TYPE_CHECKING:
    from PIL.Image import Image

    from safegen.evaluation.judge import Judge
    from safegen.models import BaseModel


@dataclass(frozen=True, slots=True)
class Asked:
    """One prompt and what must be seen in its picture; a memorised title has no style."""

    prompt: str
    seed: int
    concept: str
    category: str
    style: str | None


@dataclass(frozen=True)
class Quality:
    """Shares in 0..1; `by_category` and `by_style` map to the share of right concepts."""

    pictures: int
    concept: float
    style: float
    by_category: dict[str, float]
    by_style: dict[str, float]
    wrong: tuple[str, ...]


def plan(concepts: Sequence[tuple[str, str]], styles: Sequence[str], *, seeds: int, seed: int = 0) -> list[Asked]:
    """Every concept in every style, `seeds` pictures each, in a shuffled order.

    Args:
        concepts: (name with its article, category).
        styles: names.
        seeds: pictures of each pair.
        seed: of the order and of the pictures' own seeds.
    """
    rng = random.Random(seed)  # noqa: S311 - variation, not secrecy
    asked = [
        Asked(f"{noun} in the style of {style}", rng.randrange(2**31), bare(noun), category, style)
        for noun, category in concepts
        for style in styles
        for _ in range(seeds)
    ]
    rng.shuffle(asked)
    return asked


def bare(noun: str) -> str:
    """A noun without its article."""
    return noun.removeprefix("an ").removeprefix("a ")


def measure(
    base: BaseModel,
    judge: Judge,
    asked: Sequence[Asked],
    sampler: Sampler,
    progress: Callable[[int], None] | None = None,
) -> tuple[Quality, list[Image]]:
    """Draw and judge; the quality and the pictures, in order."""
    pictures = draw_all(base, [(each.prompt, each.seed) for each in asked], sampler, progress=progress)
    seen = judge.judge(pictures)
    right = [concept == each.concept for concept, each in zip(seen.concepts, asked, strict=True)]
    styled = [style == each.style for style, each in zip(seen.styles, asked, strict=True) if each.style]
    wrong = tuple(
        f"{each.prompt} -> {concept}" for each, concept, ok in zip(asked, seen.concepts, right, strict=True) if not ok
    )
    return (
        Quality(
            pictures=len(asked),
            concept=float(np.mean(right)),
            style=float(np.mean(styled)),
            by_category=_shares([each.category for each in asked], right),
            by_style=_shares([each.style or "" for each in asked], right),
            wrong=wrong,
        ),
        pictures,
    )


def _shares(keys: Sequence[str], right: Sequence[bool]) -> dict[str, float]:
    groups: dict[str, list[bool]] = defaultdict(list)
    for key, ok in zip(keys, right, strict=True):
        groups[key].append(ok)
    return {key: float(np.mean(values)) for key, values in sorted(groups.items())}


def seed_difference(base: BaseModel, prompts: Sequence[str], sampler: Sampler) -> float:
    """Mean absolute difference (0..255) between two seeds of the same prompt."""
    pairs = [(prompt, seed) for prompt in prompts for seed in (1, 2)]
    pixels = [np.asarray(picture, dtype=np.float32) for picture in draw_all(base, pairs, sampler)]
    return float(np.mean([np.abs(pixels[i] - pixels[i + 1]).mean() for i in range(0, len(pixels), 2)]))


def style_shares(
    base: BaseModel, judge: Judge, prompts: Sequence[tuple[str, int]], sampler: Sampler
) -> dict[str, float]:
    """The share of the pictures of (prompt, seed) pairs that the judge sees in each of its styles, 0..1."""
    seen = judge.judge(draw_all(base, prompts, sampler)).styles
    return {style: seen.count(style) / len(seen) for style in judge.styles}
