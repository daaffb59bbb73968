"""Running a policy's tests: each prompt decided, compared with what was expected, and the rules counted.

Invariants: pure; a rule is covered if at least one case sees it apply, or match in shadow.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from safegen.policy.decide import decide
from safegen.policy.decision import Decision, PromptRequest
from safegen.policy.model import Policy
from safegen.policy.suite import Asked, Case, Expectation, PolicySuite

UNTOUCHED = "untouched"
_NO_WORDS = ""


@dataclass(frozen=True, slots=True)
class CaseResult:
    """One prompt of one case; `problems` is empty if it came out as expected.

    Attributes:
        outcome: what must come of it if it is drawn: `refused`, `released` or `withheld`.
    """

    case: str
    prompt: str
    request: PromptRequest
    expected: str
    outcome: str
    decision: Decision
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SuiteResult:
    """All results of a suite, and which rules they saw at work."""

    results: tuple[CaseResult, ...]
    covered: tuple[str, ...]
    uncovered: tuple[str, ...]

    @property
    def failures(self) -> tuple[CaseResult, ...]:
        """The results that came out otherwise than expected."""
        return tuple(one for one in self.results if one.problems)

    @property
    def coverage(self) -> float:
        """The share of rules that were seen at work, 0..1; 1 if there are none."""
        count = len(self.covered) + len(self.uncovered)
        return len(self.covered) / count if count else 1.0


def run_suite(suite: PolicySuite, policy: Policy) -> SuiteResult:
    """Decide every prompt of a suite under a policy."""
    now = date.fromisoformat(suite.now)
    results = tuple(_result(suite, policy, case, prompt, now) for case in _cases(suite) for prompt in case.prompts)
    seen = {
        entry.match.rule for one in results for entry in one.decision.trace if entry.status in {"applied", "shadow"}
    }
    names = [rule.id for rule in policy.rules]
    return SuiteResult(
        results, tuple(one for one in names if one in seen), tuple(one for one in names if one not in seen)
    )


def _cases(suite: PolicySuite) -> Iterator[Case]:
    yield from suite.cases
    if suite.untouched:
        yield Case(name=UNTOUCHED, prompts=suite.untouched)


def _result(suite: PolicySuite, policy: Policy, case: Case, prompt: str, now: date) -> CaseResult:
    request = _request(suite, case, prompt)
    decision = decide(policy, request, now=now)
    if case.expect is None:
        problems = tuple(_touched(policy, request, decision, now))
    else:
        problems = tuple(_problems(case.expect, decision))
    expected = case.expect.action if case.expect is not None else UNTOUCHED
    outcome = (case.expect.outcome if case.expect is not None else None) or (
        "refused" if expected == "refuse" else "released"
    )
    return CaseResult(case.name or expected, prompt, request, expected, outcome, decision, problems)


def _request(suite: PolicySuite, case: Case, prompt: str) -> PromptRequest:
    fixture = suite.fixtures[case.fixture] if case.fixture is not None else Asked()
    fields: dict[str, object] = {}
    for asked in (suite.request, fixture, case.request):
        fields.update(asked.model_dump(exclude_none=True))
    return PromptRequest.model_validate({**fields, "prompt": prompt})


def _touched(policy: Policy, request: PromptRequest, decision: Decision, now: date) -> Iterator[str]:
    """What a decision does beyond what the policy does with a prompt of no words."""
    bare = decide(policy, request.model_copy(update={"prompt": _NO_WORDS}), now=now)
    for match in decision.matches:
        if match.phrase and match.action != "allow":
            yield f"touched by {match.rule} because of {match.text!r}"
    if decision.action != bare.action and not any(match.phrase for match in decision.matches):
        yield f"the decision is {decision.action}"


def _problems(expected: Expectation, decision: Decision) -> Iterator[str]:
    worded = {match.rule for match in decision.matches if match.phrase}
    wordless = {match.rule for match in decision.matches} - worded
    shadow = {entry.match.rule for entry in decision.trace if entry.status == "shadow"}
    if decision.action != expected.action:
        yield f"{decision.action} instead of {expected.action}"
    if expected.rules is not None:
        yield from _difference("rule", set(expected.rules), worded, optional=wordless)
    yield from _difference("shadow rule", set(expected.shadow), shadow, optional=shadow)
    if expected.bundle is not None:
        yield from _difference("erased concept", set(expected.bundle), {item.concept for item in decision.bundle})
    if expected.reviewers is not None:
        yield from _difference("reviewer", set(expected.reviewers), {order.reviewer for order in decision.reviews})
    if expected.prompt is not None and decision.prompt != expected.prompt:
        yield f"the prompt to draw is {decision.prompt!r}"
    by = decision.refusal.rule if decision.refusal else "nobody"
    if expected.refused_by is not None and by != expected.refused_by:
        yield f"refused by {by} instead of {expected.refused_by}"


def _difference(
    kind: str, expected: set[str], found: set[str], optional: frozenset[str] | set[str] = frozenset()
) -> Iterator[str]:
    for name in sorted(expected - found - optional):
        yield f"{kind} {name} is missing"
    for name in sorted(found - expected - optional):
        yield f"{kind} {name} was not expected"
