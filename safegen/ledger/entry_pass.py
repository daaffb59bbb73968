"""One pass over the entries of a log, in order: numbers, hashes, tree, records, and the order of requests.

Invariants: everything is recomputed from the bodies; memory holds one page, the right edge of the tree, the roots that
are asked for, and some bytes for each request. What contradicts is reported and never raised.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256

from safegen.errors import LedgerError
from safegen.ledger import merkle
from safegen.ledger.following import Following
from safegen.ledger.record import RequestRecord, parse_record
from safegen.ledger.source import Log, Nodes, Page
from safegen.ledger.stages import Move, move_of
from safegen.ledger.wire import move_of_wire, read_wire

Report = Callable[[str, str, int | None], None]
"""Takes the name of a problem, a sentence, and the entry where it shows."""


class EntryPass:
    """The pass, and what is known after it.

    Args:
        report: takes what contradicts.
        wanted: sizes of the tree whose roots will be asked for.
    """

    def __init__(self, report: Report, wanted: frozenset[int]) -> None:
        self.tree = merkle.Frontier()
        self.roots = {0: merkle.EMPTY_ROOT}
        self.requests = Following()
        self.prunings: list[tuple[int, int]] = []
        self.due = self.bodiless = 0
        self.last_bodiless = -1
        self._report = report
        self._wanted = wanted

    def run(self, log: Log, progress: Callable[[int], None] | None = None) -> None:
        """Take all entries of a log; `progress` is called with their number after each page."""
        for page in log.pages():
            self._page(page)
            if progress is not None:
                progress(self.due)

    def _page(self, page: Page) -> None:
        """Take a page of entries, and compare its tree nodes: at once if they are right, else one by one."""
        nodes: Nodes = {}
        for index, request_id, stage, body, leaf in page.rows:
            if index != self.due:
                if index < self.due:
                    self._report("entry.surplus", "the entry stands after one of a higher number", index)
                    continue
                self._report("entry.missing", f"entries {self.due} to {index - 1} are missing", self.due)
            self.due = index + 1
            for level, value in enumerate(self._leaf(index, body, leaf), 1):
                nodes[index, level] = value
            if body:
                self._record(index, request_id, stage, body)
        if page.nodes is not None and page.nodes != nodes:
            self._nodes(nodes, page.nodes)

    def _leaf(self, index: int, body: bytes, stored: bytes) -> list[bytes]:
        """Take the leaf of an entry into the tree; gives the subtrees that it completes, lowest first."""
        if body:
            leaf = sha256(b"\x00" + body).digest()
        else:
            leaf = stored
            self.bodiless, self.last_bodiless = self.bodiless + 1, index
        if leaf != stored or len(leaf) != merkle.HASH_BYTES:
            self._report("entry.altered", "the record does not have the hash that was stored with it", index)
        completed = self.tree.append(leaf)
        if self.tree.size in self._wanted:
            self.roots[self.tree.size] = self.tree.root()
        return completed

    def _nodes(self, computed: Nodes, stored: Nodes) -> None:
        for (index, level), value in computed.items():
            found = stored.get((index, level))
            if found is None:
                self._report("node.missing", f"no tree node is stored at level {level}", index)
            elif found != value:
                self._report("node.altered", f"the tree node at level {level} contradicts the records", index)
        for index, level in stored.keys() - computed.keys():
            self._report("node.surplus", f"a tree node is stored at level {level} where none ends", index)

    def _record(self, index: int, request_id: str | None, stage: str | None, body: bytes) -> None:
        value = read_wire(body)
        if value is None:
            self._record_by_definition(index, request_id, stage, body)
            return
        move = move_of_wire(value)
        self._count(index, value.get("request_id"), move, (request_id, stage))
        if move.stage == "pruned":
            self.prunings.append((index, value["stop"]))

    def _record_by_definition(self, index: int, request_id: str | None, stage: str | None, body: bytes) -> None:
        """A record that the fast way did not take."""
        try:
            record = parse_record(body)
        except LedgerError as error:
            self._report("entry.unreadable", error.message, index)
            return
        if isinstance(record, RequestRecord):
            self._count(index, record.request_id, move_of(record), (request_id, stage))
            return
        self._count(index, None, Move(record.stage), (request_id, stage))
        if record.stage == "pruned":
            self.prunings.append((index, record.stop))

    def _count(self, index: int, request_id: str | None, move: Move, stored: tuple[str | None, str | None]) -> None:
        if stored[1] is not None and stored != (request_id, move.stage):
            self._report("entry.mislabelled", "the row's columns contradict its record", index)
        if request_id is None:
            return
        problem = self.requests.take(request_id, move)
        if problem is not None:
            self._report("request.order", f"request {request_id}: {problem}", index)
