"""Following requests through a log."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from safegen.ledger.following import Following
from safegen.ledger.stages import Move, RequestState

moves = st.sampled_from([
    Move("requested"), Move("decided"), Move("decided", refuses=True), Move("drawn"), Move("drawn", attempt=1),
    Move("reviewed"), Move("reviewed", attempt=1), Move("closed", outcome="released"),
    Move("closed", outcome="refused"), Move("recovered"),
])  # fmt: skip


@given(st.lists(st.tuples(st.sampled_from("ab"), moves), max_size=30))
def test_following_says_what_the_states_say(steps: list[tuple[str, Move]]) -> None:
    """Problems, ends and open requests are those of one state for each request; ended ones are never forgotten."""
    following, states = Following(), {"a": RequestState(), "b": RequestState()}
    for name, move in steps:
        said, expected = following.take(name, move), states[name].problem(move)
        assert (said is None) == (expected is None)
        assert said == expected or states[name].ended  # after two ends, the first one is named
        states[name] = states[name].after(move)
    seen = {name for name, _ in steps}
    assert set(following.open_requests) == {name for name in seen if not states[name].ended}
