"""Which record may follow which within one request. Pure; used when appending and when verifying.

Invariants: a request begins with `requested`, is decided once before anything is drawn, draws nothing after a refusal,
and ends with exactly one `closed` or `recovered`, after which nothing follows.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache

from safegen.ledger.record import Closed, Drawn, Record, RequestRecord

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

    def problem(self, record: Record) -> str | None:
        """Say what is wrong with `record` as the next one, or None."""
        if not isinstance(record, RequestRecord):
            return f"`{record.stage}` belongs to no request"
        wrong_order = order_problem(self.stages, record.stage)
        if wrong_order is not None:
            return wrong_order
        if record.stage == "drawn":
            return self._drawn_problem(record)
        if record.stage == "reviewed" and record.attempt >= self.attempts:
            return f"attempt {record.attempt} is reviewed but was not drawn"
        if record.stage == "closed":
            return self._closed_problem(record)
        return None

    def _drawn_problem(self, record: Drawn) -> str | None:
        if self.refused:
            return "`drawn` follows a refusal"
        if record.attempt != self.attempts:
            return f"attempt {record.attempt} is drawn where attempt {self.attempts} was due"
        return None

    def _closed_problem(self, record: Closed) -> str | None:
        if record.outcome == "released" and "drawn" not in self.stages:
            return "images are released but none were drawn"
        if record.outcome == "refused" and not self.refused:
            return "closed as refused without a refusal"
        if self.refused and record.outcome in {"released", "withheld"}:
            return f"closed as {record.outcome} after a refusal"
        return None

    def after(self, record: Record) -> RequestState:
        """The state once `record` has been counted, whether or not it was in order."""
        refuses = record.stage == "decided" and record.refusal is not None
        drawn = record.attempt + 1 if record.stage == "drawn" else 0
        return _state(self.stages | {record.stage}, self.refused or refuses, max(self.attempts, drawn))


@lru_cache(maxsize=4096)
def _state(stages: frozenset[str], refused: bool, attempts: int) -> RequestState:
    """One object for each state, so that a million ended requests cost little."""
    return RequestState(stages, refused, attempts)
