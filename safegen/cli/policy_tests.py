"""`safegen policy test`: run the tests that stand beside policies.

Invariants: decides only, and needs no torch, unless `--generate` asks for pictures. Exit codes: 0 all as expected, 1 a
failure, an error or too little coverage, 2 usage.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from xml.etree import ElementTree as ET

import typer

if TYPE_CHECKING:
    from safegen.policy.suite_run import CaseResult, SuiteResult

_ERROR = 1


@dataclass(frozen=True, slots=True)
class _Ran:
    path: Path
    result: SuiteResult | None
    error: str
    drawn: tuple[str, ...] = ()

    @property
    def failed(self) -> bool:
        return self.result is None or bool(self.result.failures) or bool(self.drawn)


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
    ran = [_run(path, generate=generate) for path in files]
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


def _run(path: Path, *, generate: bool) -> _Ran:
    from safegen.errors import SafegenError
    from safegen.policy import load_policy_file
    from safegen.policy.suite import load_suite_file
    from safegen.policy.suite_run import run_suite

    try:
        suite = load_suite_file(path)
        file = path.parent / suite.policy
        result = run_suite(suite, load_policy_file(file))
        drawn = tuple(_drawn(file, result)) if generate else ()
    except SafegenError as error:
        return _Ran(path, None, str(error))
    return _Ran(path, result, "", drawn)


def _drawn(policy: Path, result: SuiteResult) -> list[str]:
    """What went wrong when each prompt was really drawn and reviewed."""
    import tempfile

    from safegen.guard import Guard
    from safegen.policy import Audience

    problems = []
    with tempfile.TemporaryDirectory() as folder, Guard.open(policy, ledger=Path(folder)) as guard:
        for one in result.results:
            audience = one.request.model_dump(include=set(Audience.model_fields))
            generation = guard.generate(one.prompt, seed=0, audience=Audience.model_validate(audience))
            expected = "refused" if one.expected == "refuse" else "released"
            if generation.outcome != expected:
                problems.append(f"{one.prompt}: {generation.outcome} instead of {expected} when drawn")
    return problems


def _as_json(ran: _Ran) -> dict[str, Any]:
    if ran.result is None:
        return {"path": str(ran.path), "ok": False, "error": ran.error}
    return {
        "path": str(ran.path),
        "ok": not ran.failed,
        "coverage": ran.result.coverage,
        "uncovered": list(ran.result.uncovered),
        "drawn": list(ran.drawn),
        "cases": [
            {
                "case": one.case,
                "prompt": one.prompt,
                "expected": one.expected,
                "action": one.decision.action,
                "ok": not one.problems,
                "problems": list(one.problems),
            }
            for one in ran.result.results
        ],
    }


def _junit(all_ran: list[_Ran]) -> bytes:
    root = ET.Element("testsuites")
    for ran in all_ran:
        results = ran.result.results if ran.result is not None else ()
        failures = len(ran.result.failures) if ran.result is not None else 0
        suite = ET.SubElement(root, "testsuite", name=str(ran.path), tests=str(len(results)), failures=str(failures))
        suite.set("errors", str(int(ran.result is None)))
        if ran.result is None:
            case = ET.SubElement(suite, "testcase", name="load", classname=ran.path.stem)
            ET.SubElement(case, "error", message=_printable(ran.error))
        for one in results:
            case = ET.SubElement(
                suite, "testcase", name=_printable(one.prompt), classname=f"{ran.path.stem}.{one.case}"
            )
            if one.problems:
                ET.SubElement(case, "failure", message=_printable("; ".join(one.problems)))
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
        for one in ran.result.failures:
            console.print(Text(f"{ran.path}: {_failure(one)}", style="red"))
        for problem in ran.drawn:
            console.print(Text(f"{ran.path}: {problem}", style="red"))
        shown = [
            str(ran.path),
            str(len(ran.result.results)),
            str(len(ran.result.failures)),
            f"{ran.result.coverage:.0%}",
        ]
        table.add_row(*map(Text, (*shown, ", ".join(ran.result.uncovered))))
    for column in table.columns:
        column.overflow = "fold"
    console.print(table)


def _failure(one: CaseResult) -> str:
    return f"{one.case}: {_printable(one.prompt)!r}: {'; '.join(one.problems)}"
