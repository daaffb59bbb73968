"""Following all requests of a long log through their stages.

Invariants: a request that ended is never forgotten, so that nothing of it can come twice; what is kept of it is a keyed
digest of its id, which nobody can aim at. What may follow what is told in `stages`; here each move is worked out once.
"""

from __future__ import annotations

import os
from collections import Counter
from hashlib import blake2b

from safegen.ledger.stages import TERMINAL_STAGES, Move, RequestState

_DIGEST_BYTES = 12
_MOST_MOVES = 100_000
"""Moves that are remembered; an honest log makes some dozens of different ones."""


class Following:
    """The state of every request so far."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self._open: dict[str, int] = {}
        self._ended: dict[int, set[int]] = {}
        self._states = [RequestState()]
        self._numbers = {self._states[0]: 0}
        self._moves: dict[tuple[int, Move], tuple[str | None, int, bool]] = {}
        self._key = os.urandom(16)

    @property
    def open_requests(self) -> tuple[str, ...]:
        """The requests that nothing has ended, in the order in which they arrived."""
        return tuple(self._open)

    def take(self, request_id: str, move: Move) -> str | None:
        """Count a move; says what is wrong with it, or None."""
        number = self._open.get(request_id)
        if number is None:
            digest = self._digest(request_id)
            number = next((state for state, ended in self._ended.items() if digest in ended), 0)
        problem, following, ended = self._moves.get((number, move)) or self._work_out(number, move)
        if ended:
            if self._open.pop(request_id, None) is not None:
                self._ended.setdefault(following, set()).add(self._digest(request_id))
            elif number == 0:
                self._ended.setdefault(following, set()).add(digest)
            if move.stage == "closed":
                self.outcomes[move.outcome] += 1
            elif move.stage == "recovered":
                self.outcomes["recovered"] += 1
        else:
            self._open[request_id] = following
        return problem

    def _work_out(self, number: int, move: Move) -> tuple[str | None, int, bool]:
        state = self._states[number]
        after = _simplest(state.after(move))
        following = self._numbers.setdefault(after, len(self._states))
        if following == len(self._states):
            self._states.append(after)
        result = state.problem(move), following, after.ended
        if len(self._moves) < _MOST_MOVES:
            self._moves[number, move] = result
        return result

    def _digest(self, request_id: str) -> int:
        text = request_id.encode("utf-8", "surrogatepass")
        return int.from_bytes(blake2b(text, digest_size=_DIGEST_BYTES, key=self._key).digest())


def _simplest(state: RequestState) -> RequestState:
    """Of a request that ended, only how it ended makes a difference to what may follow, which is nothing."""
    return RequestState(state.stages & TERMINAL_STAGES) if state.ended else state
