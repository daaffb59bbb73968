"""Which record may follow which within one request. Pure; used when appending and when verifying.

Invariants: a request begins with `requested`, is decided once before anything is drawn, draws nothing after a refusal,
and ends with exactly one `closed` or `recovered`, after which nothing follows.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from safegen.ledger.record import Closed, Decided, Drawn, RequestRecord, Reviewed

TERMINAL_STAGES = frozenset({"closed", "recovered"})
_NEEDED_BEFORE = {"decided": "requested", "drawn": "decided", "reviewed": "drawn"}
_ONCE = frozenset({"requested", "decided"})


@cache
def order_problem(earlier: frozenset[str], stage: str) -> str | None:
    """Say what is wrong with a stage that comes after the `earlier` ones of its request, or None."""
    ended = earlier & TERMINAL_STAGES
    if ended:
        return f"`{stage}` follows `{min(ended)}`, which ends a request"
    if stage != "requested" and "requested" not in earlier:
        return f"`{stage}` comes before `requested`"
    if stage in _ONCE and stage in earlier:
        return f"`{stage}` appears twice"
    needed = _NEEDED_BEFORE.get(stage)
    if needed is not None and needed not in earlier:
        return f"`{stage}` comes before `{needed}`"
    return None


class Move(NamedTuple):
    """What of a record counts for the order: its stage, its attempt, and whether or how it ends or refuses."""

    stage: str
    attempt: int = 0
    outcome: str = ""
    refuses: bool = False


def move_of(record: RequestRecord) -> Move:
    """The move that a record makes."""
    if isinstance(record, Drawn | Reviewed):
        return Move(record.stage, attempt=record.attempt)
    if isinstance(record, Closed):
        return Move(record.stage, outcome=record.outcome)
    return Move(record.stage, refuses=isinstance(record, Decided) and record.refusal is not None)


@dataclass(frozen=True, slots=True)
class RequestState:
    """What is known of a request after some of its records."""

    stages: frozenset[str] = frozenset()
    refused: bool = False
    attempts: int = 0

    @property
    def ended(self) -> bool:
        """Whether the request is over."""
        return bool(self.stages & TERMINAL_STAGES)

    def problem(self, move: Move) -> str | None:
        """Say what is wrong with `move` as the next one, or None."""
        wrong_order = order_problem(self.stages, move.stage)
        if wrong_order is not None:
            return wrong_order
        if move.stage == "drawn":
            return self._drawn_problem(move.attempt)
        if move.stage == "reviewed" and move.attempt >= self.attempts:
            return f"attempt {move.attempt} is reviewed but was not drawn"
        if move.stage == "closed":
            return self._closed_problem(move.outcome)
        return None

    def _drawn_problem(self, attempt: int) -> str | None:
        if self.refused:
            return "`drawn` follows a refusal"
        if attempt != self.attempts:
            return f"attempt {attempt} is drawn where attempt {self.attempts} was due"
        return None

    def _closed_problem(self, outcome: str) -> str | None:
        if outcome == "released" and "drawn" not in self.stages:
            return "images are released but none were drawn"
        if outcome == "refused" and not self.refused:
            return "closed as refused without a refusal"
        if self.refused and outcome in {"released", "withheld"}:
            return f"closed as {outcome} after a refusal"
        return None

    def after(self, move: Move) -> RequestState:
        """The state once `move` has been counted, whether or not it was in order."""
        drawn = move.attempt + 1 if move.stage == "drawn" else 0
        return RequestState(self.stages | {move.stage}, self.refused or move.refuses, max(self.attempts, drawn))
