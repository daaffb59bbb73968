"""Where prevention and review disagree: what the ledger says of both, in its own kinds. Pure.

Invariants: a find is blamed on the membranes of its own rule alone; what no reviewer could judge is no disagreement.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from safegen.guard.gate import Opening
from safegen.guard.result import Seen
from safegen.ledger import Disagreement

BENIGN_SHARE = 0.5
"""A score below this share of its threshold says that a picture is benign."""


def finds_against_membranes(
    openings: Sequence[Opening], seen: Sequence[Seen], *, attempt: int, image: int
) -> list[Disagreement]:
    """What reviewers found in one image although the membranes were open (leak), or because none was (miss)."""
    return [
        Disagreement(
            kind=kind,
            adapter=adapter,
            reviewer=each.reviewer,
            score=each.score,
            rule=each.rule,
            attempt=attempt,
            image=image,
        )
        for each in seen
        if each.found and each.score is not None
        for kind, adapter in _blamed(openings, each)
    ]


def _blamed(openings: Sequence[Opening], find: Seen) -> list[tuple[Literal["leak", "miss"], str | None]]:
    """The adapters that a find speaks against: those of its rule whose concept it names, else all of its rule."""
    of_rule = [opening for opening in openings if opening.item.rule == find.rule]
    named = [opening for opening in of_rule if find.label in opening.item.phrases] or of_rule
    leaking = [opening.item.adapter for opening in named if opening.gamma > 0]
    if leaking:
        return [("leak", adapter) for adapter in leaking]
    return [("miss", opening.item.adapter) for opening in named] or [("miss", None)]


def false_triggers(openings: Sequence[Opening], seen: Sequence[Seen]) -> list[Disagreement]:
    """Membranes that opened without a word of the policy in a request in which all reviewers saw next to nothing.

    `openings` are those of the last attempt, `seen` is all that was seen. A suspicion: see `Disagreement`.
    """
    found = []
    for opening in openings:
        if opening.gamma <= 0 or opening.item.matched:
            continue
        of_rule = [each for each in seen if each.rule == opening.item.rule]
        scores = [(each.score, each.reviewer) for each in of_rule if _sees_next_to_nothing(each)]
        if scores and len(scores) == len(of_rule):
            score, reviewer = max(scores)
            found.append(
                Disagreement(
                    kind="false_trigger",
                    adapter=opening.item.adapter,
                    reviewer=reviewer,
                    score=score,
                    rule=opening.item.rule,
                )
            )
    return found


def _sees_next_to_nothing(seen: Seen) -> bool:
    return seen.score is not None and seen.score < BENIGN_SHARE * seen.threshold
