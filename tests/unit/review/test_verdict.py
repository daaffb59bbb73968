"""The verdict over one image, and its laws."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from safegen.review import Finding, LadderState, judge_image

STRICTNESS = {"release": 0, "escalate": 1, "reseed": 2, "withhold": 3}
LADDERS = st.sampled_from([("escalate", "reseed", "withhold"), ("withhold",), ("reseed", "withhold"), ("release",)])
FINDINGS = st.builds(
    Finding,
    rule=st.sampled_from(["a", "b"]),
    reviewer=st.sampled_from(["x", "y"]),
    label=st.just("cat"),
    score=st.floats(0, 1),
    failure=st.none(),
    threshold=st.just(0.5),
    ladder=LADDERS,
    on_failure=st.just("withhold"),
)


def finding(score: float | None, **changes: object) -> Finding:
    made = Finding("a", "x", "cat", 0.0, None, 0.5, ("escalate", "reseed", "withhold"), "withhold")
    return replace(made, score=score, **changes)  # type: ignore[arg-type]


def test_a_ladder_is_walked_find_by_find_and_stays_at_its_end() -> None:
    """Escalate, reseed, withhold, and withhold again."""
    state, steps = LadderState(), []
    for _ in range(4):
        verdict = judge_image([finding(0.9)], state)
        steps.append(verdict.action)
        state = verdict.state
    assert steps == ["escalate", "reseed", "withhold", "withhold"]


def test_the_threshold_itself_counts_as_found() -> None:
    """A score at the threshold is a find, one below it is not."""
    assert judge_image([finding(0.5)], LadderState()).action == "escalate"
    assert judge_image([finding(0.4999)], LadderState()).action == "release"


def test_a_failure_takes_the_rules_failure_mode() -> None:
    """A reviewer without a score withholds, unless the rule says to release."""
    failed = finding(None, failure="broke")
    assert judge_image([failed], LadderState()).action == "withhold"
    assert judge_image([replace(failed, on_failure="release")], LadderState()).action == "release"


def test_an_ordered_review_that_is_missing_withholds() -> None:
    """No answer is no clean bill."""
    verdict = judge_image([finding(0.1)], LadderState(), frozenset({("a", "x"), ("b", "y")}))
    assert (verdict.action, verdict.because) == ("withhold", ("b",))


@given(st.lists(FINDINGS, max_size=4), FINDINGS)
def test_one_more_finding_never_makes_the_verdict_laxer(findings: list[Finding], extra: Finding) -> None:
    """The strictest step wins, so adding a look can only tighten."""
    fewer = judge_image(findings, LadderState()).action
    assert STRICTNESS[judge_image([*findings, extra], LadderState()).action] >= STRICTNESS[fewer]


@given(st.lists(FINDINGS, min_size=1, max_size=4))
def test_a_failure_that_withholds_never_makes_the_verdict_laxer(findings: list[Finding]) -> None:
    """Losing a score is never better than having it."""
    broken = [replace(findings[0], score=None, failure="broke"), *findings[1:]]
    assert judge_image(broken, LadderState()).action == "withhold"
