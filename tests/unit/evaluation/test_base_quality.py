"""Planning and counting of the base's quality."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import torch
from PIL.Image import Image

from safegen.evaluation.base_quality import bare, measure, plan
from safegen.evaluation.drawing import Sampler
from safegen.evaluation.judge import Judgement
from safegen.models import BaseModel

CONCEPTS, STYLES = [("a cat", "animal"), ("an owl", "animal"), ("santa claus", "character")], ["noto", "neon"]


def test_the_plan_asks_for_every_pair_equally_often() -> None:
    """3 concepts in 2 styles, 4 seeds each, no seed twice."""
    asked = plan(CONCEPTS, STYLES, seeds=4)
    assert set(Counter((each.concept, each.style) for each in asked).values()) == {4}
    assert len({each.seed for each in asked}) == len(asked) == 24
    assert asked == plan(CONCEPTS, STYLES, seeds=4)
    assert asked != plan(CONCEPTS, STYLES, seeds=4, seed=1)


def test_articles_are_no_part_of_a_name() -> None:
    """`a` and `an` go, other beginnings stay."""
    assert [bare(noun) for noun in ("a cat", "an owl", "anchor", "santa claus")] == [
        "cat",
        "owl",
        "anchor",
        "santa claus",
    ]


class Fixed:
    """A judge that sees a cat in noto everywhere."""

    def judge(self, pictures: Sequence[Image]) -> Judgement:
        count = len(pictures)
        return Judgement(("cat",) * count, ("noto",) * count, torch.ones(count, 1))


def test_shares_are_counted_over_all_by_category_and_by_style(base: BaseModel) -> None:
    """A judge that always says `cat` in `noto` is right once in three for concepts and once in two for styles."""
    asked = plan(CONCEPTS, STYLES, seeds=1)
    quality, pictures = measure(base, Fixed(), asked, Sampler(steps=1))  # type: ignore[arg-type]
    assert len(pictures) == quality.pictures == 6
    assert (quality.concept, quality.style) == (1 / 3, 1 / 2)
    assert quality.by_category == {"animal": 1 / 2, "character": 0.0}
    assert quality.by_style == {"neon": 1 / 3, "noto": 1 / 3}
    assert all("-> cat" in line for line in quality.wrong)
