"""Asking reviewers: whatever they do becomes one answer an image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from PIL import Image

from safegen.errors import ReviewError
from safegen.review import Question, ReviewFailure, Scores, load_reviewer, run_review

IMAGES = [Image.new("RGB", (64, 64), colour) for colour in ("white", "navy")]


class Told:
    """A reviewer that answers as it is told."""

    name = "told"
    digest = "sha256:" + "0" * 64

    def __init__(self, answer: Callable[[], Any]) -> None:
        self._answer = answer

    def review(self, images: Sequence[Image.Image], question: Question) -> Any:
        return self._answer()


@pytest.mark.parametrize(
    "answer",
    [
        lambda: 1 / 0,
        lambda: None,
        list,
        lambda: [Scores({"cat": 0.1})],
        lambda: [Scores({}), Scores({})],
        lambda: [Scores({"cat": float("nan")})] * 2,
        lambda: [Scores({"cat": 1.01})] * 2,
        lambda: [Scores({"cat": "high"})] * 2,  # type: ignore[dict-item]
        lambda: ["cat", "dog"],
    ],
    ids=["raises", "none", "empty", "too few", "says nothing", "nan", "above one", "text", "foreign"],
)
def test_a_reviewer_that_misbehaves_fails_for_every_image(answer: Callable[[], Any]) -> None:
    """Errors, silence, wrong counts and impossible scores are failures, never scores."""
    answers = run_review(Told(answer), IMAGES, Question(("cat",)))
    assert [type(each) for each in answers] == [ReviewFailure, ReviewFailure]


def test_a_sound_answer_is_passed_on() -> None:
    """Scores come back as they were given."""
    assert (
        run_review(Told(lambda: [Scores({"cat": 0.2, "dog": 0.7})] * 2), IMAGES, Question())
        == [Scores({"cat": 0.2, "dog": 0.7})] * 2
    )
    assert Scores({"cat": 0.2, "dog": 0.7}).label == "dog"


def test_an_unknown_reviewer_is_an_error_with_a_hint() -> None:
    """A misspelt name says what was probably meant."""
    with pytest.raises(ReviewError, match="did you mean 'nudenet'"):
        load_reviewer("nudnet")


def test_nudenet_really_looks_and_knows_its_labels() -> None:
    """The shipped detector gives 0.0 for blank pictures, carries a digest, and refuses labels that it lacks."""
    nudenet = load_reviewer("nudenet")
    assert nudenet.digest.startswith("sha256:")
    scores = nudenet.review(IMAGES, Question(labels=("FEMALE_BREAST_EXPOSED",)))
    assert [dict(each.all) for each in scores] == [{"FEMALE_BREAST_EXPOSED": 0.0}] * 2
    failed = run_review(nudenet, IMAGES, Question(labels=("BREASTS",)))
    assert isinstance(failed[0], ReviewFailure)
    assert "no label 'BREASTS'" in failed[0].message
