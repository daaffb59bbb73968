"""The verdict over one image."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest

from safegen.review import Finding, LadderState, Step, judge_image

START = LadderState()


def finding(score: float | None, **changes: Any) -> Finding:
    """What reviewer x said for rule a."""
    made = {
        "rule": "a",
        "reviewer": "x",
        "label": "cat",
        "score": score,
        "failure": None if score is not None else "broke",
        "threshold": 0.5,
        "ladder": ("escalate", "reseed", "withhold"),
        "on_failure": "withhold",
    }
    return Finding(**(made | changes))


def walk(ladder: tuple[Step, ...], finds: int) -> list[Step]:
    """The actions of so many finds in a row."""
    state, actions = START, []
    for _ in range(finds):
        verdict = judge_image([finding(0.9, ladder=ladder)], state)
        actions.append(verdict.action)
        state = verdict.state
    return actions


@pytest.mark.parametrize(
    ("ladder", "actions"),
    [
        (("escalate", "reseed", "withhold"), ["escalate", "reseed", "withhold", "withhold", "withhold"]),
        (("reseed", "release"), ["reseed", "release", "release", "release", "release"]),
        (("reseed",), ["reseed", "withhold", "withhold", "withhold", "withhold"]),
        (("escalate", "escalate"), ["escalate", "escalate", "withhold", "withhold", "withhold"]),
    ],
)
def test_a_ladder_is_walked_find_by_find_and_stays_at_its_end(ladder: tuple[Step, ...], actions: list[Step]) -> None:
    """Past its end an end holds; a ladder without one ends with withhold."""
    assert walk(ladder, 5) == actions


def test_nothing_found_is_released_without_a_flag() -> None:
    """The clean bill: every review answered, no score reached its threshold."""
    verdict = judge_image([finding(0.1)], START, frozenset({("a", "x")}))
    assert (verdict.action, verdict.because, dict(verdict.steps), verdict.flagged) == ("release", (), {}, False)
    assert verdict.state == START


def test_no_review_ordered_and_none_done_is_released() -> None:
    """A prompt that no rule touches has no findings, and passes."""
    assert judge_image([], START).action == "release"


def test_the_threshold_itself_counts_as_found() -> None:
    """A score at the threshold is a find, one below it is not, a failure is neither."""
    assert (finding(0.5).found, finding(0.4999).found, finding(None).found) == (True, False, None)
    assert judge_image([finding(0.5)], START).action == "escalate"
    assert judge_image([finding(0.4999)], START).action == "release"


def test_a_failure_takes_the_rules_failure_mode() -> None:
    """A reviewer without a score withholds, unless the rule says to release, which is flagged."""
    assert judge_image([finding(None)], START).action == "withhold"
    released = judge_image([finding(None, on_failure="release")], START)
    assert (released.action, released.because, released.flagged) == ("release", ("a",), True)


def test_a_failure_takes_no_step_of_the_ladder() -> None:
    """Only finds do."""
    assert judge_image([finding(None)], START).state == START


def test_a_find_that_the_ladder_lets_pass_is_flagged() -> None:
    """Release with a reason is told apart from a clean bill."""
    verdict = judge_image([finding(0.9, ladder=("release",))], START)
    assert (verdict.action, verdict.because, verdict.flagged) == ("release", ("a",), True)


def test_an_ordered_review_that_is_missing_withholds() -> None:
    """No answer is no clean bill."""
    verdict = judge_image([finding(0.1)], START, frozenset({("a", "x"), ("b", "y")}))
    assert (verdict.action, verdict.because) == ("withhold", ("b",))
    assert judge_image([], START, frozenset({("a", "x")})).action == "withhold"
    assert judge_image([finding(0.1)], START, frozenset({("a", "y")})).action == "withhold"


def test_the_strictest_step_wins_and_every_rules_step_is_told() -> None:
    """Reseed beats escalate; who asked for what is kept."""
    verdict = judge_image([finding(0.9), finding(0.9, rule="b", ladder=("reseed", "withhold"))], START)
    assert (verdict.action, verdict.because) == ("reseed", ("b",))
    assert dict(verdict.steps) == {"a": "escalate", "b": "reseed"}
    assert dict(verdict.state.taken) == {"a": 1, "b": 1}


def test_two_finds_of_one_rule_take_one_step() -> None:
    """Two reviewers of a rule that agree do not hurry its ladder."""
    verdict = judge_image([finding(0.9), finding(0.9, reviewer="y")], START)
    assert (verdict.action, verdict.because, dict(verdict.state.taken)) == ("escalate", ("a",), {"a": 1})


def test_a_state_does_not_change() -> None:
    """Advancing gives another state; neither the old one nor what it was made of is touched or matters."""
    taken = {"a": 1}
    state = LadderState(taken)
    taken["a"] = 0
    assert dict(state.advance({"a", "b"}).taken) == {"a": 2, "b": 1}
    assert dict(state.taken) == {"a": 1}
    with pytest.raises(TypeError):
        state.taken["a"] = 0  # type: ignore[index]
    with pytest.raises(FrozenInstanceError):
        state.taken = {}  # type: ignore[misc]


@pytest.mark.parametrize(
    "changes",
    [
        {"score": None, "failure": None},
        {"score": 0.1, "failure": "broke"},
        {"score": float("nan")},
        {"score": 1.5},
        {"score": -0.1},
        {"threshold": float("nan")},
        {"threshold": 2.0},
        {"ladder": ()},
        {"ladder": ("escalate", "shrug")},
        {"on_failure": "escalate"},
    ],
    ids=str,
)
def test_a_finding_that_makes_no_sense_cannot_be_made(changes: dict[str, Any]) -> None:
    """Above all neither score nor failure, and NaN, which no threshold would catch."""
    with pytest.raises(ValueError, match=r"finding|no such steps"):
        replace(finding(0.1), **changes)


def test_an_empty_reason_is_a_failure_all_the_same() -> None:
    """A failure counts by being there, not by its words."""
    assert judge_image([finding(None, failure="")], START).action == "withhold"
