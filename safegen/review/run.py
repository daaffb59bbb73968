"""Asks a reviewer so that no answer is taken for granted.

Invariants: `run_review` never raises for what a reviewer does; it gives exactly one answer an image, scores or a
failure; every score that it passes on is a plain finite number in 0..1; what a reviewer does to its pictures does not
reach the caller's.
"""

from __future__ import annotations

import math
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from typing import TYPE_CHECKING, cast

from safegen.review.reviewer import Question, Reviewer, ReviewFailure, Scores

if TYPE_CHECKING:
    from PIL.Image import Image

_LONGEST_MESSAGE = 500
"""Characters of a failure's message."""


def run_review(
    reviewer: Reviewer, images: Sequence[Image], question: Question, *, timeout_s: float | None = None
) -> list[Scores | ReviewFailure]:
    """Ask a reviewer; whatever it does becomes one answer an image.

    Args:
        reviewer: who looks.
        images: what it looks at; it is handed copies.
        question: what it looks for.
        timeout_s: seconds after which no answer is a failure. The late reviewer goes on in a thread of its own, since
            Python cannot end it, and its answer is dropped. None waits for as long as it takes.

    Raises:
        ValueError: a timeout that is not above 0.
    """
    if timeout_s is not None and not timeout_s > 0:
        raise ValueError(f"a timeout must be above 0 s, not {timeout_s!r}")

    def ask() -> object:
        return reviewer.review([image.copy() for image in images], question)

    try:
        answers = ask() if timeout_s is None else _within(timeout_s, ask)
        if not isinstance(answers, list | tuple) or len(answers) != len(images):
            return [ReviewFailure(f"gave {_count(answers)} for {len(images)} images")] * len(images)
        return [_checked(answer, question) for answer in answers]
    except Exception as error:  # noqa: BLE001 - a reviewer is foreign code; the rule's failure mode decides
        return [ReviewFailure(_described(error))] * len(images)


def _within(seconds: float, ask: Callable[[], object]) -> object:
    """The answer, or what was raised instead of it, if either comes in time.

    Raises:
        TimeoutError: neither did.
    """
    box: queue.SimpleQueue[tuple[object, BaseException | None]] = queue.SimpleQueue()

    def work() -> None:
        try:
            box.put((ask(), None))
        except BaseException as error:  # noqa: BLE001 - handed over to the thread that waits
            box.put((None, error))

    threading.Thread(target=work, name="safegen-review", daemon=True).start()
    try:
        answers, error = box.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError(f"gave no answer within {seconds:g} s") from None
    if error is not None:
        raise error
    return answers


def _described(error: Exception) -> str:
    try:
        text = f"{type(error).__name__}: {error}"
    except Exception:  # noqa: BLE001 - even an error's text is foreign code
        text = type(error).__name__
    return text[:_LONGEST_MESSAGE]


def _count(answers: object) -> str:
    return f"{len(answers)} answers" if isinstance(answers, list | tuple) else "no list of answers"


def _checked(answer: object, question: Question) -> Scores | ReviewFailure:
    """The answer for one image in plain numbers, or what is wrong with it."""
    if not isinstance(answer, Scores) or not isinstance(cast("object", answer.all), Mapping) or not answer.all:
        return ReviewFailure("said nothing")
    scores: dict[str, float] = {}
    for name, value in answer.all.items():
        score = _number(value)
        if score is None:
            return ReviewFailure(f"scored {name!r} as {value!r}, which is no number in 0..1"[:_LONGEST_MESSAGE])
        scores[str(name)] = score
    if left_out := _left_out(question, scores):
        return ReviewFailure(f"said nothing about {', '.join(left_out)}"[:_LONGEST_MESSAGE])
    return Scores(scores)


def _number(value: object) -> float | None:
    """The value as a float if it is a score; a bare yes or no is none."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return None
    score = float(value)
    return score if math.isfinite(score) and 0 <= score <= 1 else None


def _left_out(question: Question, scores: Mapping[str, float]) -> list[str]:
    """What should have been scored and was not.

    A reviewer answers all labels or all targets, whichever it understands. Where no label is asked for, a detector may
    answer with labels of its own choice instead, though never with only some of the targets.
    """
    missing = {asked: [word for word in asked if word not in scores] for asked in (question.labels, question.targets)}
    if any(asked and not words for asked, words in missing.items()):
        return []
    if not question.labels and len(missing[question.targets]) == len(question.targets):
        return []
    return missing[question.labels or question.targets]
