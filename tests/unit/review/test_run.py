"""Asking reviewers: whatever they do becomes one answer an image."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image

from safegen.review import Question, ReviewFailure, Scores, run_review

IMAGES = [Image.new("RGB", (64, 64), colour) for colour in ("white", "navy")]
CAT = Question(targets=("cat",))


class Told:
    """A reviewer that answers as it is told."""

    name = "told"
    digest = "sha256:" + "0" * 64

    def __init__(self, answer: Callable[[], Any]) -> None:
        self._answer = answer

    def review(self, images: Sequence[Image.Image], question: Question) -> Any:
        return self._answer()


class UnspeakableError(Exception):
    """An error that cannot even be printed."""

    def __str__(self) -> str:
        raise RuntimeError


def unspeakable() -> None:
    raise UnspeakableError


MISBEHAVIOUR: dict[str, Callable[[], Any]] = {
    "raises": lambda: 1 / 0,
    "raises the unspeakable": unspeakable,
    "none": lambda: None,
    "text": lambda: "ab",
    "empty": list,
    "too few": lambda: [Scores({"cat": 0.1})],
    "too many": lambda: [Scores({"cat": 0.1})] * 3,
    "says nothing": lambda: [Scores({})] * 2,
    "no mapping": lambda: [Scores(0.3)] * 2,  # type: ignore[arg-type]
    "nan": lambda: [Scores({"cat": float("nan")})] * 2,
    "nan behind a good score": lambda: [Scores({"cat": 0.1, "dog": float("nan")})] * 2,
    "infinite": lambda: [Scores({"cat": float("inf")})] * 2,
    "above one": lambda: [Scores({"cat": 1.01})] * 2,
    "below zero": lambda: [Scores({"cat": -0.01})] * 2,
    "word for a score": lambda: [Scores({"cat": "high"})] * 2,  # type: ignore[dict-item]
    "yes or no": lambda: [Scores({"cat": False})] * 2,
    "foreign": lambda: ["cat", "dog"],
}


@pytest.mark.parametrize("answer", MISBEHAVIOUR.values(), ids=MISBEHAVIOUR)
@pytest.mark.parametrize("timeout_s", [None, 30.0])
def test_a_reviewer_that_misbehaves_fails_for_every_image(answer: Callable[[], Any], timeout_s: float | None) -> None:
    """Errors, silence, wrong counts and impossible scores are failures, never scores, with and without a timeout."""
    answers = run_review(Told(answer), IMAGES, CAT, timeout_s=timeout_s)
    assert [type(each) for each in answers] == [ReviewFailure, ReviewFailure]
    assert all(isinstance(each, ReviewFailure) and each.message for each in answers)


def test_one_bad_answer_spoils_no_other() -> None:
    """An image with a sound answer keeps it when the next image has none."""
    answers = run_review(Told(lambda: [Scores({"cat": 0.1}), Scores({})]), IMAGES, CAT)
    assert answers == [Scores({"cat": 0.1}), ReviewFailure("said nothing")]


def test_a_sound_answer_is_passed_on_in_plain_numbers() -> None:
    """Scores come back as they were given, numpy's among them as floats."""
    answers = run_review(Told(lambda: [Scores({"cat": cast("float", np.float32(0.25)), "dog": 1})] * 2), IMAGES, CAT)
    assert answers == [Scores({"cat": 0.25, "dog": 1.0})] * 2
    assert isinstance(answers[0], Scores)
    assert {type(score) for score in answers[0].all.values()} == {float}


@pytest.mark.parametrize(
    ("question", "answered", "sound"),
    [
        (Question(("cat", "dog")), ("cat", "dog"), True),
        (Question(("cat", "dog")), ("cat",), False),
        (Question(("cat",), ("TAIL", "PAW")), ("TAIL", "PAW"), True),
        (Question(("cat",), ("TAIL", "PAW")), ("cat",), True),
        (Question(("cat",), ("TAIL", "PAW")), ("TAIL",), False),
        (Question((), ("TAIL",)), ("PAW",), False),
        (Question(("cat",)), ("TAIL", "PAW"), True),
        (Question(), ("anything",), True),
    ],
)
def test_an_answer_that_leaves_something_out_is_a_failure(
    question: Question, answered: tuple[str, ...], sound: bool
) -> None:
    """All targets or all labels must be scored; only a detector that was asked for no label may choose its own."""
    answers = run_review(Told(lambda: [Scores(dict.fromkeys(answered, 0.0))] * 2), IMAGES, question)
    assert [isinstance(each, Scores) for each in answers] == [sound, sound]


def test_a_late_reviewer_is_a_failure() -> None:
    """After the timeout the caller goes on without an answer."""
    gate = threading.Event()
    answers = run_review(Told(lambda: gate.wait(30)), IMAGES, CAT, timeout_s=0.05)
    gate.set()
    assert answers == [ReviewFailure("TimeoutError: gave no answer within 0.05 s")] * 2


@pytest.mark.parametrize("timeout_s", [0, -1, float("nan")])
def test_a_timeout_that_is_none_is_a_misuse(timeout_s: float) -> None:
    """No seconds, or fewer, are refused."""
    with pytest.raises(ValueError, match="above 0"):
        run_review(Told(list), IMAGES, CAT, timeout_s=timeout_s)


@pytest.mark.parametrize("timeout_s", [None, 30.0])
def test_an_interrupt_is_no_answer(timeout_s: float | None) -> None:
    """Ctrl-C reaches the caller and is not taken for a failure of the reviewer."""

    def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_review(Told(interrupted), IMAGES, CAT, timeout_s=timeout_s)


def test_a_reviewer_cannot_change_the_pictures() -> None:
    """It looks at copies, so what is released is what was drawn."""

    class Painter(Told):
        def review(self, images: Sequence[Image.Image], question: Question) -> Any:
            for image in images:
                image.paste((255, 0, 0), (0, 0, 64, 64))
            return [Scores({"cat": 0.0})] * len(images)

    before = [image.tobytes() for image in IMAGES]
    assert run_review(Painter(list), IMAGES, CAT) == [Scores({"cat": 0.0})] * 2
    assert [image.tobytes() for image in IMAGES] == before
