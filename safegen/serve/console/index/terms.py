"""The terms of an item: all that it can be found by and counted under.

Invariants: pure; a name that holds a number begins with it in a fixed width, so that names sort as their numbers do;
bins are half-open, and the last one has no upper end.
"""

from __future__ import annotations

from collections.abc import Iterator

from safegen.serve.console.index.item import Item

FACETS = {
    "outcome": "Outcome", "action": "Action", "rule": "Rule", "policy": "Policy version", "adapter": "Adapter",
    "reviewer": "Reviewer", "found": "Found by", "disagreement": "Disagreement", "category": "Refused as",
    "tenant": "Tenant", "market": "Market", "shadow": "Shadow rule", "flag": "Marked",
    "base": "Base model", "kind": "Kind",
}  # fmt: skip
"""Kinds that the timeline offers as filters, with their headings."""
PLOTTED = {"day": "Day", "gamma": "Permeability", "score": "Score", "seconds": "Time taken"}
"""Kinds that plots count, and that their bars filter by."""
SEARCHED = ("text", "rule", "adapter", "category", "policy", "tenant", "shadow", "base")
"""Kinds whose names the free text search looks into."""

GAMMA_BINS = 20
GAMMA_STEP = 0.1
SCORE_BINS = 20
SECONDS = (0.0, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0)

Term = tuple[str, str]
"""A kind and a name."""


def terms_of(item: Item) -> Iterator[Term]:
    """All terms of an item; some may come twice."""
    yield "kind", item.kind
    if len(item.time) >= len("2026-01-01"):
        yield "day", item.time[:10]
    yield from (("flag", flag) for flag in item.flags)
    yield from (("text", text) for text in item.texts if text)
    if item.policy:
        yield "policy", item.policy
    if item.kind == "request":
        yield from _request_terms(item)


def _request_terms(item: Item) -> Iterator[Term]:
    yield "outcome", item.outcome
    for kind in ("action", "category", "base", "tenant", "market"):
        if name := getattr(item, kind):
            yield kind, name
    yield from (("rule", rule) for rule in item.rules)
    yield from (("shadow", rule) for rule in item.shadow)
    yield from (("reviewer", reviewer) for reviewer in item.reviewers)
    yield from (("disagreement", kind) for kind in item.disagreements)
    for adapter, gamma in item.gammas.items():
        yield "gamma", f"{gamma_bin(gamma):02d} {adapter}"
        if gamma > 0:
            yield "adapter", adapter
    for series, peak in item.peaks.items():
        yield "score", f"{score_bin(peak.score):02d} {series}"
        yield "threshold", f"{peak.threshold:08.5f} {series}"
        if peak.found:
            yield "found", series
    seconds = item.seconds
    if seconds is not None:
        yield "seconds", f"{seconds_bin(seconds):02d}"


def gamma_bin(gamma: float) -> int:
    """Bin of a permeability: 0 for exactly closed, then steps of 0.1; the last is open to the right."""
    if gamma <= 0:
        return 0
    return min(GAMMA_BINS, 1 + int(gamma / GAMMA_STEP))


def score_bin(score: float) -> int:
    """Bin of a score in 0..1, in steps of 0.05."""
    return max(0, min(SCORE_BINS - 1, int(score * SCORE_BINS)))


def seconds_bin(seconds: float) -> int:
    """Bin of a duration; the bounds are `SECONDS`."""
    return max((place for place, bound in enumerate(SECONDS) if bound <= seconds), default=0)


def split_bin(name: str) -> tuple[str, str]:
    """Part the name of a binned term into its number and what it is of."""
    number, _, series = name.partition(" ")
    return number, series
