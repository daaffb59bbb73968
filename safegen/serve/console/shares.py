"""Two versions of a policy against one another: of what each did, which share of its requests.

Invariants: pure; a share is of all requests under that version, so that versions of unequal traffic compare; every
number carries the query string of the records behind it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from safegen.serve.console.index import Filter
from safegen.serve.console.index.terms import FACETS

COMPARED = ("outcome", "action", "rule", "adapter", "found", "disagreement", "category", "shadow", "flag")


@dataclass(frozen=True)
class Side:
    """How often something happened under one version."""

    count: int
    share: float
    link: str


@dataclass(frozen=True)
class Line:
    """One name, under both versions; `change` is in percentage points."""

    name: str
    first: Side
    second: Side

    @property
    def change(self) -> float:
        """From the first to the second, in percentage points."""
        return 100 * (self.second.share - self.first.share)


@dataclass(frozen=True)
class Group:
    """All names of a kind, those that changed most first."""

    heading: str
    lines: tuple[Line, ...]


def compare(
    names: tuple[str, str], totals: tuple[int, int], counts: tuple[Mapping[str, Counter[str]], ...]
) -> list[Group]:
    """What two versions of a policy did, kind by kind; kinds with nothing to say are left out."""
    groups = []
    for kind in COMPARED:
        found = sorted({name for each in counts for name, count in each[kind].items() if count})
        lines = [
            Line(name, *(_side(names[side], totals[side], kind, name, counts[side][kind][name]) for side in (0, 1)))
            for name in found
        ]
        if lines:
            groups.append(Group(FACETS[kind], tuple(sorted(lines, key=lambda line: (-abs(line.change), line.name)))))
    return groups


def _side(policy: str, total: int, kind: str, name: str, count: int) -> Side:
    link = Filter().only("policy", policy).only(kind, name).query()
    return Side(count, count / total if total else 0.0, link)
