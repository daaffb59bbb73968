"""One line about one request, for lists. Pure.

Invariants: says what the records say and nothing more; what a request has not reached yet is None.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from safegen.errors import LedgerError
from safegen.ledger.parts import ClosedModel, Permeability, PolicyReference
from safegen.ledger.record import Closed, Decided, Drawn, Record, Recovered, Requested

if TYPE_CHECKING:
    from safegen.ledger.transaction import Entry


class RequestSummary(ClosedModel):
    """What became of one request; `permeabilities` are those of its last attempt.

    `pruned` records are gone by retention; `unreadable` ones are damaged, or of a newer version.
    """

    request_id: str
    time: str | None = None
    policy: PolicyReference | None = None
    action: str | None = None
    rules: tuple[str, ...] = ()
    outcome: str | None = None
    attempts: int = 0
    permeabilities: tuple[Permeability, ...] = ()
    pruned: int = 0
    unreadable: int = 0


def summarise(request_id: str, entries: Sequence[Entry]) -> RequestSummary:
    """Sum up the entries of one request, in their order."""
    found: dict[str, object] = {"pruned": sum(not entry.body for entry in entries)}
    unreadable = 0
    for entry in entries:
        try:
            found.update(_facts(entry.record) if entry.body else {})
        except LedgerError:
            unreadable += 1
    found["unreadable"] = unreadable
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
