"""What is noted of one request, and when it has to be durable.

Invariants: notes become records in their order. `requested` and `decided` share one commit, which is durable before
anything is drawn; what an attempt drew and what the reviewers said is durable before the next attempt, or with the
record that ends the request and the checkpoint over it, before anybody gets an image.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from concurrent.futures import Future

    from safegen.ledger import Closed, Entry, Ledger, Receipt, Record

Note = Callable[[], "Record"]
"""Gives a record; called once, when it is written."""


class Notes:
    """The notes of one request that are not in the ledger yet."""

    def __init__(self, ledger: Ledger) -> None:
        self.now = ledger.now
        self._ledger = ledger
        self._waiting: list[Note] = []
        self._begun: Future[list[Entry]] | None = None

    def add(self, note: Note | Record) -> None:
        """Note what is to be durable with the next commit."""
        self._waiting.append(note if callable(note) else lambda: note)

    def begin(self) -> None:
        """Begin to make durable what was noted, while something else is done that leaves no trace."""
        waiting, self._waiting = self._waiting, []
        self._begun = self._ledger.begin_append(lambda: [note() for note in waiting])

    def settle(self) -> None:
        """Wait until all that was noted is durable.

        Raises:
            LedgerWriteError: if it cannot be made so.
        """
        if self._waiting:
            self._wait()
            self.begin()
        self._wait()

    def end(self, closed: Closed) -> Receipt:
        """Make durable what was noted and the record that ends the request, and sign; gives its receipt.

        Raises:
            LedgerWriteError: if they cannot be made durable.
        """
        self._wait()
        waiting, self._waiting = self._waiting, []
        return self._ledger.append_signed([*(note() for note in waiting), closed])

    def _wait(self) -> None:
        if self._begun is not None:
            self._begun.result()
