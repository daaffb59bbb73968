"""Tests that stand beside a policy: prompts, and what the policy must decide about them.

Invariants: frozen and closed like policies, and read with the same care; the clock of a suite stands still; what a case
does not list is expected not to happen.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from safegen.errors import PolicyError
from safegen.policy.decision import Outcome
from safegen.policy.diagnostics import DiagnosedSyntaxError
from safegen.policy.document import read_document
from safegen.policy.load import contents
from safegen.policy.lookups import Problem
from safegen.policy.parts import AgeGate, Closed, Day, Name, Slug, Text
from safegen.policy.wording import problems_of

SUFFIX = "_test"
Prompt = Annotated[str, Field(max_length=4000)]


class Asked(Closed):
    """Request attributes of a case; what it leaves out comes from its fixture, then from the suite."""

    tenant: Slug | None = None
    market: Slug | None = None
    age_gate: AgeGate | None = None
    subject: str | None = None
    negative_prompt: str | None = None


class Expectation(Closed):
    """What must follow. `rules`, `bundle` and `reviewers` are complete lists if given; rules without words aside.

    Attributes:
        action: what the decision must be.
        rules: ids of the rules that must apply, and no others.
        shadow: ids of the rules that must have matched in shadow.
        bundle: names of the concepts that must be erased, and no others.
        reviewers: reviewers that must be asked, and no others.
        prompt: the prompt that must be drawn.
        refused_by: the rule that must refuse.
        outcome: what must come of it once it is drawn and reviewed; only looked at where tests are drawn. Without it,
            what is not refused must be released.
    """

    action: Outcome
    rules: tuple[Slug, ...] | None = None
    shadow: tuple[Slug, ...] = ()
    bundle: tuple[Name, ...] | None = None
    reviewers: tuple[Slug, ...] | None = None
    prompt: Text | None = None
    refused_by: Slug | None = None
    outcome: Literal["released", "withheld", "refused"] | None = None


class Case(Closed):
    """One or several prompts with one expectation; without an expectation they must be untouched."""

    name: Text = ""
    prompts: Annotated[tuple[Prompt, ...], Field(min_length=1)]
    fixture: Name | None = None
    request: Asked = Asked()
    expect: Expectation | None = None


class PolicySuite(Closed):
    """The tests of one policy.

    Attributes:
        policy: the policy's file, counted from the suite's folder.
        now: the day on which the suite plays.
        fixtures: named request attributes.
        untouched: prompts that must still work: no rule may touch them.
    """

    api_version: Annotated[Literal["safegen/v1"], Field(alias="apiVersion")]
    kind: Literal["PolicyTest"]
    policy: Annotated[str, Field(min_length=1, max_length=500)]
    now: Day
    request: Asked = Asked()
    fixtures: dict[str, Asked] = Field(default_factory=dict)
    cases: tuple[Case, ...] = ()
    untouched: tuple[Prompt, ...] = ()


def load_suite(text: str | bytes, *, source: str) -> PolicySuite:
    """Read a suite.

    Raises:
        PolicySyntaxError: the text is no YAML or no suite; its `diagnostics` list every problem.
    """
    document = read_document(text, source)
    problems = [*document.problems, *problems_of(PolicySuite, document.data), *_unknown_fixtures(document.data)]
    if problems:
        raise DiagnosedSyntaxError([document.diagnose(problem) for problem in problems])
    try:
        return PolicySuite.model_validate(document.data)
    except ValidationError as error:  # pragma: no cover - `problems_of` has looked already
        raise PolicyError(str(error), where=source) from error


def load_suite_file(path: str | Path) -> PolicySuite:
    """Read a suite file; see `load_suite`.

    Raises:
        PolicyError: the file cannot be read, or `load_suite` rejects it.
    """
    return load_suite(contents(path, "the tests"), source=str(path))


def suites_beside(path: Path) -> list[Path]:
    """The suite files that a path stands for: itself, those of a folder, or that of a policy."""
    if path.is_dir():
        return sorted(one for one in path.rglob("*.yaml") if one.stem.endswith(SUFFIX))
    if path.stem.endswith(SUFFIX):
        return [path]
    return [path.with_name(f"{path.stem}{SUFFIX}{path.suffix}")]


def _unknown_fixtures(data: Any) -> list[Problem]:
    if not isinstance(data, dict):
        return []
    fixtures = data.get("fixtures")
    known = fixtures if isinstance(fixtures, dict) else {}
    problems = []
    cases = data.get("cases")
    for at, case in enumerate(cases if isinstance(cases, list) else ()):
        name = case.get("fixture") if isinstance(case, dict) else None
        if isinstance(name, str) and name not in known:
            hint = f"known: {', '.join(known)}" if known else "list it under `fixtures`"
            problems.append(Problem(("cases", at, "fixture"), f"no fixture is called `{name}`", hint))
    return problems
