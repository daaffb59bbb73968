"""What is drawn to measure an SPM, and what is made of it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from safegen.evaluation.drawing import Sampler
from safegen.training.effect import Drawn, Meter, Plan, plan
from safegen.training.recipe import Recipe


class Judge:
    concepts = ("cat", "dog", "owl")
    styles = ("ann", "bob")

    def judge(self, pictures):
        return SimpleNamespace(concepts=("cat",) * len(pictures), styles=("ann",) * len(pictures))


def drawn(concepts: list[str], styles: list[str] | None = None) -> Drawn:
    pictures = tuple(Image.new("RGB", (8, 8)) for _ in concepts)
    return Drawn(pictures, tuple(concepts), tuple(styles or ["ann"] * len(concepts)))


def meter(tmp_path: Path) -> Meter:
    return Meter(SimpleNamespace(digest="d"), Judge(), Sampler(8, 3), tmp_path)


def test_half_of_the_pictures_are_unseen(recipe: Recipe) -> None:
    """Probes make up half of the plan as far as there are any, never a prompt of training, each with its own seed."""
    probed = recipe.model_copy(update={"probes": ("{phrase} from {style}", "{phrase} by {style}", "my {phrase}")})
    wanted = plan(probed, ["dog by ann", "owl by bob", "fox"], pictures=10)
    texts = [text for text, _ in wanted.targets]
    assert len(texts) == 10
    assert wanted.unseen == 5
    assert not set(texts[-5:]) & {target for target, _ in probed.pairs()}
    assert len({seed for _, seed in wanted.targets}) == 10
    assert [text for text, _ in wanted.neighbours] == ["dog by ann", "owl by bob"]
    assert set(wanted.before) < set(wanted.targets)
    assert plan(recipe, [], pictures=3).unseen == 0


def test_shares_are_counted(recipe: Recipe, tmp_path: Path) -> None:
    """Targets are counted by the judge's name for them, unseen ones apart, neighbours by whether they stay."""
    seven = tuple((f"cat {number}", number) for number in range(7))
    wanted = Plan(seven, 2, (seven[0], seven[5]), (("dog", 9), ("owl", 10)))
    bare = drawn(["cat", "dog", "dog", "owl"])
    opened = drawn(["dog", "cat", "dog", "dog", "dog", "cat", "dog", "dog", "cat"])
    effect = meter(tmp_path).effect(recipe, wanted, bare, opened)
    assert effect is not None
    assert effect.measured() == {
        "target_before": 0.5,
        "target_after": pytest.approx(2 / 7, abs=1e-4),
        "unseen_after": 0.5,
        "neighbours_change": -0.5,
        "pictures": 7,
        "pictures_before": 2,
        "picture_steps": 3,
    }


def test_a_style_keeps_its_content(recipe: Recipe, tmp_path: Path) -> None:
    """For a style, the style is counted, and what the pictures show must stay."""
    style = recipe.model_copy(update={"concept": "ann"})
    wanted = Plan(tuple((str(n), n) for n in range(6)), 0, (("0", 0), ("5", 5)), ())
    opened = drawn(["cat", "dog", "dog", "dog", "dog", "dog"], ["bob"] * 5 + ["ann"])
    effect = meter(tmp_path).effect(style, wanted, drawn(["cat", "owl"]), opened)
    assert effect is not None
    assert (effect.target_before, effect.content_kept) == (1.0, 0.5)
    assert effect.target_after == pytest.approx(1 / 6)


def test_what_the_judge_does_not_know_is_not_measured(recipe: Recipe, tmp_path: Path) -> None:
    """No share is invented for a concept that the judge has no name for."""
    unknown = recipe.model_copy(update={"concept": "zebra"})
    assert meter(tmp_path).effect(unknown, Plan((), 0, (), ()), drawn([]), drawn([])) is None


def test_pictures_are_drawn_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second meter over the same folder finds the pictures; another sampler does not."""
    draws: list[int] = []

    def draw_all(_base, prompts, _sampler, *, spms):
        draws.append(len(prompts))
        return [Image.new("RGB", (8, 8), (seed, 0, 0)) for _, seed in prompts]

    monkeypatch.setattr("safegen.training.effect.draw_all", draw_all)
    wanted = Plan((("cat", 1), ("cat", 2)), 0, (("cat", 2),), (("dog", 3),))
    first, again = meter(tmp_path).bare(wanted), meter(tmp_path).bare(wanted)
    assert draws == [2]
    assert [picture.tobytes() for picture in again.pictures] == [picture.tobytes() for picture in first.pictures]
    assert again.concepts == first.concepts == ("cat", "cat")
    Meter(SimpleNamespace(digest="d"), Judge(), Sampler(8, 4), tmp_path).bare(wanted)
    assert draws == [2, 2]
