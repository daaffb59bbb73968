"""The auditor's report: one HTML file with tables, plots and the verification, that asks nothing of the network.

Invariants: whatever a record says is escaped, in tables and in plots; the file holds no script and forbids any; the
numbers are those of the SQL shown by `SECTIONS`, so that each can be asked for again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from safegen.ledger import plots
from safegen.ledger.analysis import Analysis, Answer
from safegen.ledger.verify import VerificationReport

_ROWS = 50
Plot = Callable[[Answer], str]


@dataclass(frozen=True, slots=True)
class Section:
    """One question of the report: what it shows, its SQL, and how its plot is drawn from another SQL."""

    title: str
    says: str
    query: str
    plot: Plot | None = None
    plot_query: str = ""


@dataclass(frozen=True, slots=True)
class _Shown:
    title: str
    says: str
    answer: Answer
    plot: str


SECTIONS = (
    Section(
        "Volume and outcomes",
        "Requests by day and how they ended.",
        "SELECT coalesce(outcome, 'open') AS outcome, count(*) AS requests FROM requests GROUP BY ALL ORDER BY ALL",
        plots.stacked_days,
        "SELECT CAST(time AS DATE) AS day, coalesce(outcome, 'open') AS outcome, count(*) AS requests FROM requests "
        "WHERE time IS NOT NULL GROUP BY ALL ORDER BY ALL",
    ),
    Section(
        "Outcomes by rule",
        "Requests that a rule matched. A request may match several.",
        "SELECT rule, coalesce(outcome, 'open') AS outcome, count(*) AS requests "
        "FROM (SELECT unnest(rules) AS rule, outcome FROM requests) GROUP BY ALL ORDER BY ALL",
        plots.stacked_rules,
    ),
    Section(
        "Permeability",
        "How far the membrane of each adapter was open (gamma), over all attempts.",
        "SELECT adapter, count(*) AS attempts, round(avg(gamma), 4) AS mean, round(min(gamma), 4) AS lowest, "
        "round(max(gamma), 4) AS highest FROM permeabilities GROUP BY ALL ORDER BY ALL",
        plots.histograms,
        "SELECT adapter, gamma, NULL FROM permeabilities",
    ),
    Section(
        "Scores",
        "What the reviewers said; the dashed lines are the thresholds in force.",
        "SELECT reviewer, rule, threshold, count(*) AS reviews, count(*) FILTER (found) AS found, "
        "count(failure) AS failed FROM scores GROUP BY ALL ORDER BY ALL",
        plots.histograms,
        "SELECT reviewer || ' / ' || rule, score, threshold FROM scores WHERE score IS NOT NULL",
    ),
    Section(
        "Disagreements",
        "Prevention and review contradict: the concept was erased yet found (leak), or neither needed nor found.",
        "SELECT adapter, reviewer, kind, count(*) AS requests, round(max(score), 4) AS highest_score "
        "FROM disagreements GROUP BY ALL ORDER BY ALL",
    ),
    Section(
        "Latency",
        "Seconds from `requested` to the end of the request, by the writer's clock.",
        "SELECT outcome, count(*) AS requests, round(median(date_diff('ms', time, ended)) / 1000, 3) AS median, "
        "round(quantile_cont(date_diff('ms', time, ended), 0.99) / 1000, 3) AS p99 "
        "FROM requests WHERE ended IS NOT NULL AND time IS NOT NULL GROUP BY ALL ORDER BY ALL",
        plots.histograms,
        "SELECT outcome, date_diff('ms', time, ended) / 1000, NULL FROM requests WHERE ended IS NOT NULL "
        "AND time IS NOT NULL",
    ),
    Section(
        "Policy changes",
        "When another policy came into force, and which changed files could not be used.",
        "SELECT time, coalesce(record->>'policy_id', record->>'file') AS policy, "
        "coalesce(record->>'old_digest', record->>'in_force') AS before, record->>'new_digest' AS after, "
        "record->>'problem' AS rejected_for FROM entries WHERE stage IN ('policy_changed', 'policy_rejected') "
        'ORDER BY "index"',
    ),
    Section(
        "Rules in shadow",
        "What rules would have done that decide nothing yet, and how many of those requests were released.",
        "SELECT shadow.rule, shadow.action, count(DISTINCT shadow.request_id) AS requests, "
        "count(DISTINCT shadow.request_id) FILTER (requests.outcome = 'released') AS released "
        "FROM shadow JOIN requests USING (request_id) GROUP BY ALL ORDER BY requests DESC, shadow.rule",
    ),
    Section(
        "Never closed",
        "Requests that nothing has ended, and requests that a later process had to end.",
        "SELECT request_id, time, coalesce(outcome, 'open') AS state, last_stage FROM requests "
        "WHERE outcome IS NULL OR outcome = 'recovered' ORDER BY time, request_id",
    ),
)


def render_report(
    analysis: Analysis, verification: VerificationReport, *, templates: Path, made: str, own_key: bool
) -> str:
    """The report as HTML.

    Args:
        analysis: the ledger as tables.
        verification: what verifying the same ledger found.
        templates: folder of ``report.html.j2``.
        made: the moment, as it is to be shown.
        own_key: whether the key that verified came from the ledger itself.

    Raises:
        LedgerError: if a query fails, or matplotlib is not installed.
    """
    environment = Environment(loader=FileSystemLoader(templates), autoescape=True, undefined=StrictUndefined)
    shown = [_Shown(one.title, one.says, analysis.ask(one.query), _plot(analysis, one)) for one in SECTIONS]
    return environment.get_template("report.html.j2").render(
        verification=verification, sections=shown, made=made, own_key=own_key, limit=_ROWS
    )


def _plot(analysis: Analysis, section: Section) -> str:
    if section.plot is None:
        return ""
    answer = analysis.ask(section.plot_query or section.query)
    return section.plot(answer) if answer.rows else ""
