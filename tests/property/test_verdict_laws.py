"""Laws of the verdict, for all findings and ladders."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from safegen.review import Finding, LadderState, judge_image

STRICTNESS = {"release": 0, "escalate": 1, "reseed": 2, "withhold": 3}
RULES, REVIEWERS = ("a", "b", "c"), ("x", "y")
LADDERS = st.lists(st.sampled_from(sorted(STRICTNESS)), min_size=1, max_size=4).map(tuple)
STATES = st.dictionaries(st.sampled_from(RULES), st.integers(0, 5)).map(LadderState)
EXPECTED = st.frozensets(st.tuples(st.sampled_from(RULES), st.sampled_from(REVIEWERS)))
FINDINGS = st.builds(
    lambda score, **rest: Finding(score=score, failure="broke" if score is None else None, **rest),
    rule=st.sampled_from(RULES),
    reviewer=st.sampled_from(REVIEWERS),
    label=st.just("cat"),
    score=st.none() | st.floats(0, 1),
    threshold=st.floats(0, 1),
    ladder=LADDERS,
    on_failure=st.sampled_from(["withhold", "release"]),
)
SEVERAL = st.lists(FINDINGS, max_size=5)


def strictness(findings: list[Finding], state: LadderState, expected: frozenset[tuple[str, str]] = frozenset()) -> int:
    """How strict the verdict is, 0 to 3."""
    return STRICTNESS[judge_image(findings, state, expected).action]


@given(SEVERAL, FINDINGS, STATES, EXPECTED)
def test_one_more_finding_never_makes_the_verdict_laxer(
    findings: list[Finding], extra: Finding, state: LadderState, expected: frozenset[tuple[str, str]]
) -> None:
    """Adding a look can only tighten; that it may be the very look that was missing does not count."""
    open_orders = expected - {(extra.rule, extra.reviewer)}
    assert strictness([*findings, extra], state, expected) >= strictness(findings, state, open_orders)


@given(st.lists(FINDINGS, min_size=1, max_size=5), st.floats(0, 1), STATES, EXPECTED)
def test_a_higher_score_never_makes_the_verdict_laxer(
    findings: list[Finding], score: float, state: LadderState, expected: frozenset[tuple[str, str]]
) -> None:
    """Neither does a lower threshold, which is the same."""
    first = replace(findings[0], score=min(score, findings[0].score or 0.0), failure=None)
    higher = replace(first, score=max(score, findings[0].score or 0.0))
    eager = replace(first, threshold=first.threshold * score)
    before = strictness([first, *findings[1:]], state, expected)
    assert strictness([higher, *findings[1:]], state, expected) >= before
    assert strictness([eager, *findings[1:]], state, expected) >= before


@given(st.lists(FINDINGS, min_size=1, max_size=5), STATES, EXPECTED)
def test_a_failure_that_withholds_withholds(
    findings: list[Finding], state: LadderState, expected: frozenset[tuple[str, str]]
) -> None:
    """Losing a score is never better than having it."""
    broken = replace(findings[0], score=None, failure="broke", on_failure="withhold")
    assert judge_image([broken, *findings[1:]], state, expected).action == "withhold"


@given(SEVERAL, STATES, EXPECTED)
def test_a_clean_bill_needs_every_ordered_answer_and_no_find(
    findings: list[Finding], state: LadderState, expected: frozenset[tuple[str, str]]
) -> None:
    """An unflagged release means exactly that all reviews were answered and nothing was found or failed."""
    verdict = judge_image(findings, state, expected)
    clean = all(finding.found is False for finding in findings)
    complete = expected <= {(finding.rule, finding.reviewer) for finding in findings}
    assert (verdict.action == "release" and not verdict.flagged) == (clean and complete)
    assert complete or verdict.action == "withhold"


@given(st.permutations(range(5)), st.lists(FINDINGS, min_size=5, max_size=5), STATES, EXPECTED)
def test_the_order_of_findings_does_not_matter(
    order: list[int], findings: list[Finding], state: LadderState, expected: frozenset[tuple[str, str]]
) -> None:
    """Which reviewer was asked first changes neither the verdict nor the ladders."""
    one, other = (judge_image(each, state, expected) for each in (findings, [findings[index] for index in order]))
    assert (one.action, set(one.because), one.steps, one.state) == (
        other.action, set(other.because), other.steps, other.state,
    )  # fmt: skip


@given(st.lists(LADDERS, min_size=len(RULES), max_size=len(RULES)), st.data())
def test_every_request_comes_to_an_end(ladders: list[tuple[str, ...]], data: st.DataObject) -> None:
    """However finds alternate between rules, attempts are bounded by the steps of all ladders together, and one."""
    state, attempts, action = LadderState(), 0, "reseed"
    while action in {"escalate", "reseed"}:
        scores = data.draw(st.lists(st.sampled_from([0.0, 1.0]), min_size=len(RULES), max_size=len(RULES)))
        findings = [
            Finding(rule, "x", "cat", score, None, 0.5, ladder, "withhold")  # type: ignore[arg-type]
            for rule, score, ladder in zip(RULES, scores, ladders, strict=True)
        ]
        verdict = judge_image(findings, state)
        action, state, attempts = verdict.action, verdict.state, attempts + 1
        assert attempts <= sum(map(len, ladders)) + 1
