"""Group commit: threads that append at the same time share one transaction, and so one sync of the disk.

Invariants: a submission is durable when `submit` returns, or nothing of it happened; a submission that is out of order
fails alone; no thread waits for others to come: whoever finds the ledger free writes all that wait by then.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from safegen.errors import LedgerError, LedgerWriteError
from safegen.ledger.record import Record, request_of
from safegen.ledger.stages import order_problem

if TYPE_CHECKING:
    from safegen.ledger.checkpoint import Checkpoint
    from safegen.ledger.heads import Heads
    from safegen.ledger.store import Store
    from safegen.ledger.transaction import Entry, Writer

Prepared = Sequence[tuple[Record, bytes]]
"""Records with their canonical bytes."""


class Committed(NamedTuple):
    """Durable entries, and the head that was signed with them if one was wanted."""

    entries: list[Entry]
    head: Checkpoint | None


@dataclass(slots=True, eq=False)
class _Submission:
    """What one thread wants appended, and what became of it."""

    prepared: Prepared
    signed: bool = False
    entries: list[Entry] = field(default_factory=list)
    head: Checkpoint | None = None
    error: LedgerError | None = None
    leads: bool = False
    done: bool = False
    wake: threading.Event = field(default_factory=threading.Event)


class GroupCommit:
    """Appends for the threads of one process."""

    def __init__(self, store: Store, heads: Heads) -> None:
        self._store = store
        self._heads = heads
        self._guard = threading.Lock()
        self._led = False
        self._waiting: list[_Submission] = []

    def submit(self, prepared: Prepared, *, signed: bool = False) -> Committed:
        """Append records, all or none of them; they are durable when this returns, as is a head over them if wanted.

        Raises:
            LedgerWriteError: if one is out of order within its request, or they cannot be made durable.
            LedgerTamperedError: if a head is wanted, and the entries contradict an earlier one.
        """
        self._store.check_process()
        mine = _Submission(prepared, signed, wake=threading.Event())
        with self._guard:
            self._waiting.append(mine)
            mine.leads, self._led = not self._led, True
        if not mine.leads:
            self._wait(mine)
        if not mine.done:
            self._lead()
        if mine.error is not None:
            raise mine.error
        return Committed(mine.entries, mine.head)

    def _wait(self, mine: _Submission) -> None:
        """Wait to be written or to lead; whoever is interrupted leaves nobody waiting for him."""
        try:
            mine.wake.wait()
        except BaseException:
            with self._guard:
                if not mine.leads and mine in self._waiting:
                    self._waiting.remove(mine)
            if mine.leads and not mine.done:
                self._lead()
            raise

    def _lead(self) -> None:
        """Write all that wait, then wake them, and one of those that came meanwhile to lead next."""
        with self._guard:
            batch, self._waiting = self._waiting, []
        try:
            with self._store.writing() as writer:
                append_in_order(writer, batch)
                self._sign(writer, [each for each in batch if each.signed and each.error is None])
        except LedgerError as error:
            _fail(batch, error)
        except BaseException as error:
            _fail(batch, LedgerWriteError(f"the commit was broken off: {error!r}"))
            raise
        finally:
            for submission in batch:
                submission.done = True
            with self._guard:
                following = self._waiting[:1]
                self._led = bool(following)
                for submission in following:
                    submission.leads = True
            for submission in (*batch, *following):
                submission.wake.set()

    def _sign(self, writer: Writer, wanting: Sequence[_Submission]) -> None:
        if wanting:
            head = self._heads.sign(writer)
            for submission in wanting:
                submission.head = head


def append_in_order(writer: Writer, batch: Sequence[_Submission]) -> None:
    """Append the submissions whose records are in order; the others get their error."""
    names = {name for each in batch for record, _ in each.prepared if (name := request_of(record)) is not None}
    stages = writer.stages(names)
    accepted = []
    for submission in batch:
        problem = _take(stages, submission.prepared)
        if problem is None:
            accepted.append(submission)
        else:
            submission.error = LedgerWriteError(problem)
    leaves = [(request_of(record), record.stage, body) for each in accepted for record, body in each.prepared]
    entries = iter(writer.append_all(leaves))
    for submission in accepted:
        submission.entries = [next(entries) for _ in submission.prepared]


def append_now(writer: Writer, prepared: Prepared) -> list[Entry]:
    """Append records within a transaction that the caller holds.

    Raises:
        LedgerWriteError: if one is out of order within its request.
    """
    submission = _Submission(prepared)
    append_in_order(writer, [submission])
    if submission.error is not None:
        raise submission.error
    return submission.entries


def _take(stages: dict[str, frozenset[str]], prepared: Prepared) -> str | None:
    """Count the stages of all records, or of none and say what is wrong."""
    reached: dict[str, frozenset[str]] = {}
    for record, _ in prepared:
        name = request_of(record)
        if name is None:
            continue
        earlier = reached.get(name, stages.get(name, frozenset()))
        problem = order_problem(earlier, record.stage)
        if problem is not None:
            return f"request {name}: {problem}"
        reached[name] = earlier | {record.stage}
    stages.update(reached)
    return None


def _fail(batch: Sequence[_Submission], error: LedgerError) -> None:
    """The transaction failed: each submission that was not refused for itself gets an error of its own."""
    for submission in batch:
        if submission.error is None:
            submission.entries = []
            submission.error = type(error)(error.message, where=error.where, hint=error.hint)
            submission.error.__cause__ = error
