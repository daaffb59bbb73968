"""Which record may follow which."""

from __future__ import annotations

import pytest

from safegen.ledger import Closed, Decided, Drawn, Record, Recovered, Refusal, Reviewed
from safegen.ledger.stages import RequestState, move_of
from tests.unit.ledger.conftest import HEX, TIME, requested, whole_request


def of_request(kind: type[Record], **content: object) -> Record:
    return kind.model_validate({"time": TIME, "request_id": "a", **content})


DECIDED = of_request(Decided, action="allow")
REFUSED = of_request(Decided, action="refuse", refusal=Refusal(rule="r", reason="no", category="nudity"))
DRAWN = of_request(Drawn, attempt=0, seeds=(1,), image_sha256s=(HEX,))
DRAWN_AGAIN = of_request(Drawn, attempt=1, seeds=(2,), image_sha256s=(HEX,))
REVIEWED = of_request(Reviewed, attempt=0, image=0, scores=(), verdict="reseed")
CLOSED = of_request(Closed, outcome="released")
CLOSED_REFUSED = of_request(Closed, outcome="refused")
CLOSED_ERROR = of_request(Closed, outcome="error")
RECOVERED = of_request(Recovered, reason="gone")


def first_problem(records: list[Record]) -> str | None:
    state = RequestState()
    for record in records:
        move = move_of(record)
        problem = state.problem(move)
        if problem is not None:
            return problem
        state = state.after(move)
    return None


@pytest.mark.parametrize(
    "records",
    [
        whole_request("a"),
        [requested("a"), CLOSED_ERROR],
        [requested("a"), RECOVERED],
        [requested("a"), REFUSED, CLOSED_REFUSED],
        [requested("a"), DECIDED, DRAWN, CLOSED],
        [requested("a"), DECIDED, DRAWN, REVIEWED, DRAWN_AGAIN, REVIEWED, CLOSED],
        [requested("a"), DECIDED, DRAWN, REVIEWED, RECOVERED],
    ],
)
def test_orders_that_happen(records: list[Record]) -> None:
    """The ways that a request may take are in order."""
    assert first_problem(records) is None


@pytest.mark.parametrize(
    ("records", "problem"),
    [
        ([DECIDED], "before `requested`"),
        ([requested("a"), requested("a")], "appears twice"),
        ([requested("a"), DECIDED, DECIDED], "appears twice"),
        ([requested("a"), DRAWN], "before `decided`"),
        ([requested("a"), DECIDED, REVIEWED], "before `drawn`"),
        ([requested("a"), REFUSED, DRAWN], "follows a refusal"),
        ([requested("a"), REFUSED, CLOSED], "none were drawn"),
        ([requested("a"), DECIDED, CLOSED_REFUSED], "without a refusal"),
        ([requested("a"), REFUSED, of_request(Closed, outcome="withheld")], "after a refusal"),
        ([requested("a"), DECIDED, DRAWN_AGAIN], "attempt 0 was due"),
        ([requested("a"), DECIDED, DRAWN, DRAWN], "attempt 1 was due"),
        ([requested("a"), DECIDED, DRAWN, REVIEWED.model_copy(update={"attempt": 1})], "was not drawn"),
        ([requested("a"), CLOSED_ERROR, CLOSED_ERROR], "ends a request"),
        ([requested("a"), RECOVERED, CLOSED_ERROR], "ends a request"),
    ],
)
def test_orders_that_cannot_be(records: list[Record], problem: str) -> None:
    """What no honest guard writes is named."""
    assert problem in str(first_problem(records))
