"""`safegen policy test`: run the tests that stand beside policies.

Invariants: decides only, and needs no torch, unless `--generate` asks for pictures. Exit codes: 0 all as expected, 1 a
failure, an error or too little coverage, 2 usage.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from xml.etree import ElementTree as ET

import typer

if TYPE_CHECKING:
    from safegen.policy import Policy
    from safegen.policy.suite_run import CaseResult, SuiteResult

_ERROR = 1


@dataclass(frozen=True, slots=True)
class _Ran:
    path: Path
    result: SuiteResult | None
    error: str
    drawn: dict[int, str] = field(default_factory=dict)

    @property
    def failed(self) -> bool:
        return any(problems for _, problems in self.cases()) or self.result is None

    def cases(self) -> list[tuple[CaseResult, tuple[str, ...]]]:
        """Each prompt with all that went wrong, decided and drawn."""
        results = self.result.results if self.result is not None else ()
        return [
            (one, (*one.problems, *([self.drawn[at]] if at in self.drawn else ()))) for at, one in enumerate(results)
        ]


def run_tests(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Test files, policies, or folders of them.")],
    *,
    coverage: Annotated[float, typer.Option(min=0, max=100, help="Least percentage of rules that tests reach.")] = 0,
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="Write JUnit XML.")] = None,
    generate: Annotated[bool, typer.Option("--generate", help="Also draw and review every prompt.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON for programs.")] = False,
) -> None:
    """Run the tests beside policies: prompts, and what must follow."""
    from safegen.policy.suite import suites_beside

    files = list(dict.fromkeys(one for path in paths for one in suites_beside(path)))
    if not files:
        typer.echo("error: no tests found; they are files whose names end in `_test.yaml`", err=True)
        raise typer.Exit(_ERROR)
    ran = [_run(path, generate=generate, quiet=as_json) for path in files]
    if junit is not None:
        junit.write_bytes(_junit(ran))
    if as_json:
        typer.echo(json.dumps([_as_json(one) for one in ran], indent=2))
    else:
        _render(ran)
    thin = any(one.result is not None and one.result.coverage * 100 < coverage for one in ran)
    if thin and not as_json:
        typer.echo(f"error: fewer than {coverage:g} % of the rules of a policy are reached by its tests", err=True)
    if thin or any(one.failed for one in ran):
        raise typer.Exit(_ERROR)


def _run(path: Path, *, generate: bool, quiet: bool) -> _Ran:
    from safegen.errors import SafegenError
    from safegen.policy import load_policy_file
    from safegen.policy.suite import load_suite_file
    from safegen.policy.suite_run import run_suite

    try:
        suite = load_suite_file(path)
        policy = load_policy_file(path.parent / suite.policy)
        result = run_suite(suite, policy)
        drawn = _drawn(policy, suite.now, result, quiet=quiet) if generate else {}
    except SafegenError as error:
        return _Ran(path, None, str(error))
    return _Ran(path, result, "", drawn)


def _drawn(policy: Policy, day: str, result: SuiteResult, *, quiet: bool) -> dict[int, str]:
    """What went wrong when each prompt was really drawn and reviewed, on the day on which the suite plays."""
    import tempfile
    from datetime import UTC, datetime

    from rich.console import Console
    from rich.progress import track

    from safegen.guard import Guard
    from safegen.ledger import Ledger
    from safegen.policy import Audience
    from safegen.spm import Registry

    noon = datetime.fromisoformat(f"{day}T12:00:00").replace(tzinfo=UTC)
    problems = {}
    with (
        tempfile.TemporaryDirectory() as folder,
        Guard(policy, Ledger.open(Path(folder), clock=lambda: noon), Registry.open()) as guard,
    ):
        guard.assembly.check(policy)
        console = Console(stderr=True)
        for at, one in track(
            list(enumerate(result.results)), "drawing", console=console, disable=quiet, transient=True
        ):
            audience = one.request.model_dump(include=set(Audience.model_fields))
            generation = guard.generate(
                one.prompt,
                negative_prompt=one.request.negative_prompt,
                seed=0,
                audience=Audience.model_validate(audience),
            )
            if generation.outcome != one.outcome:
                problems[at] = f"{generation.outcome} instead of {one.outcome} when drawn"
    return problems


def _as_json(ran: _Ran) -> dict[str, Any]:
    if ran.result is None:
        return {"path": str(ran.path), "ok": False, "error": ran.error}
    return {
        "path": str(ran.path),
        "ok": not ran.failed,
        "coverage": ran.result.coverage,
        "uncovered": list(ran.result.uncovered),
        "drawn": [f"{ran.result.results[at].prompt}: {problem}" for at, problem in ran.drawn.items()],
        "cases": [
            {
                "case": one.case,
                "prompt": one.prompt,
                "expected": one.expected,
                "action": one.decision.action,
                "ok": not problems,
                "problems": list(problems),
            }
            for one, problems in ran.cases()
        ],
    }


def _junit(all_ran: list[_Ran]) -> bytes:
    root = ET.Element("testsuites")
    for ran in all_ran:
        cases = ran.cases()
        failures = sum(bool(problems) for _, problems in cases)
        suite = ET.SubElement(root, "testsuite", name=str(ran.path), tests=str(len(cases)), failures=str(failures))
        suite.set("errors", str(int(ran.result is None)))
        if ran.result is None:
            case = ET.SubElement(suite, "testcase", name="load", classname=ran.path.stem)
            ET.SubElement(case, "error", message=_printable(ran.error))
        for one, problems in cases:
            case = ET.SubElement(
                suite, "testcase", name=_printable(one.prompt), classname=f"{ran.path.stem}.{one.case}"
            )
            if problems:
                ET.SubElement(case, "failure", message=_printable("; ".join(problems)))
    return bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True))


def _printable(text: str) -> str:
    from safegen.policy.diagnostics import printable

    return printable(text)


def _render(all_ran: list[_Ran]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(soft_wrap=True, highlight=False)
    table = Table("tests", "prompts", "failed", "rules reached", "not reached")
    for ran in all_ran:
        if ran.result is None:
            table.add_row(Text(str(ran.path)), "-", "-", "-", "")
            console.print(Text(ran.error, style="red"))
            continue
        failed = [(one, problems) for one, problems in ran.cases() if problems]
        for one, problems in failed:
            failure = f"{one.case}: {_printable(one.prompt)!r}: {'; '.join(problems)}"
            console.print(Text(f"{ran.path}: {failure}", style="red"))
        shown = [
            str(ran.path),
            str(len(ran.result.results)),
            str(len(failed)),
            f"{ran.result.coverage:.0%}",
        ]
        table.add_row(*map(Text, (*shown, ", ".join(ran.result.uncovered))))
    for column in table.columns:
        column.overflow = "fold"
    console.print(table)
