"""Decisions as text for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from safegen.policy import Decision

_STATUS = {
    "applied": "applies",
    "allowed": "allowed by",
    "excepted": "lifted by",
    "shadow": "in shadow",
    "not_rolled_out": "not rolled out to this subject",
    "other_request": "for other requests",
}


def render_decision(decision: Decision) -> None:
    """Print what was decided and why."""
    from rich.console import Console
    from rich.text import Text

    console = Console(soft_wrap=True, highlight=False)
    about = decision.policy
    console.print(Text(f"{decision.action}, by {about.id} version {about.version} ({about.digest})"))
    console.print(Text(f"read as: {decision.normalised}"))
    if decision.action == "redact" or any(match.action == "redact" for match in decision.matches):
        console.print(Text(f"drawn as: {decision.prompt}"))
    if decision.refusal is not None:
        console.print(Text(f"refused by {decision.refusal.rule}: {decision.refusal.reason}", style="red"))
    for table in _tables(decision):
        if table.row_count:
            console.print(table)


def _tables(decision: Decision) -> tuple[Table, ...]:
    from rich.markup import escape
    from rich.table import Table

    title = "Rules that were considered"
    trace = Table("rule", "action", "words", "at", "because of", "status", title=title, title_justify="left")
    for entry in decision.trace:
        match = entry.match
        place = f"{match.start}-{match.end}" if match.phrase else ""
        because = f"{match.concept} ({match.category})" if match.concept else match.phrase or "every prompt"
        status = f"{_STATUS[entry.status]} {entry.because}".strip()
        trace.add_row(*map(escape, (match.rule, match.action, match.text, place, because, status)))
    bundle = Table("concept", "adapter", "rule", "strength", "transport", title="Bundle", title_justify="left")
    for item in decision.bundle:
        bundle.add_row(*map(escape, (item.concept, item.adapter, item.rule, f"{item.strength:g}", item.transport)))
    reviews = Table("reviewer", "rule", "looks for", "threshold", "ladder", title="Reviews", title_justify="left")
    for order in decision.reviews:
        sought = ", ".join(order.labels or order.targets)
        ladder = ", ".join(order.ladder)
        reviews.add_row(*map(escape, (order.reviewer, order.rule, sought, f"{order.threshold:g}", ladder)))
    tables = (trace, bundle, reviews)
    for column in (column for table in tables for column in table.columns):
        column.overflow = "fold"
    return tables
