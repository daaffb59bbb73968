"""One line about one request, for lists. Pure.

Invariants: says what the records say and nothing more; what a request has not reached yet is None.
"""

from __future__ import annotations

from collections.abc import Sequence

from safegen.ledger.parts import ClosedModel, Permeability, PolicyReference
from safegen.ledger.record import Closed, Decided, Drawn, Record, Recovered, Requested


class RequestSummary(ClosedModel):
    """What became of one request; `permeabilities` are those of its last attempt."""

    request_id: str
    time: str | None = None
    policy: PolicyReference | None = None
    action: str | None = None
    rules: tuple[str, ...] = ()
    outcome: str | None = None
    attempts: int = 0
    permeabilities: tuple[Permeability, ...] = ()


def summarise(request_id: str, records: Sequence[Record]) -> RequestSummary:
    """Sum up the records of one request, in their order."""
    found: dict[str, object] = {}
    for record in records:
        found.update(_facts(record))
    return RequestSummary.model_validate({"request_id": request_id, **found})


def _facts(record: Record) -> dict[str, object]:
    match record:
        case Requested():
            return {"time": record.time, "policy": record.policy}
        case Decided():
            return {"action": record.action, "rules": record.rules}
        case Drawn():
            return {"permeabilities": record.permeabilities, "attempts": record.attempt + 1}
        case Closed():
            return {"outcome": record.outcome}
        case Recovered():
            return {"outcome": "recovered"}
        case _:
            return {}
