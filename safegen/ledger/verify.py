"""Verifying a whole ledger: recompute everything from the bodies and compare.

Invariants: only the verifier key is trusted; tampering is reported under a name and never raised; what is unreadable
as a whole raises. Entries after the last checkpoint are not signed yet: they are counted and no problem, as a crash may
leave some honestly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from safegen.errors import LedgerError, LedgerTamperedError
from safegen.ledger.checkpoint import Checkpoint, VerifierKey, parse_checkpoint, verify_checkpoint
from safegen.ledger.entry_pass import EntryPass
from safegen.ledger.export import ExportedLog
from safegen.ledger.folder import CHECKPOINT_FILE, open_store
from safegen.ledger.parts import ClosedModel
from safegen.ledger.source import Log, StoredLog
from safegen.ledger.store import Store


class Problem(ClosedModel):
    """One contradiction: a stable name, a sentence, and the entry or tree size where it shows."""

    name: str
    message: str
    index: int | None = None


class VerificationReport(ClosedModel):
    """What a verification found; `ok` only if nothing contradicts."""

    origin: str
    size: int
    root: str
    checkpoints: int
    signed_size: int
    unsigned_tail: int
    pruned: int
    outcomes: dict[str, int]
    open_requests: tuple[str, ...]
    problems: tuple[Problem, ...]

    @property
    def ok(self) -> bool:
        """Whether no tampering was found."""
        return not self.problems


def verify_ledger(
    ledger: Path | Store,
    verifier_key: str | VerifierKey,
    *,
    known_checkpoints: Iterable[str] = (),
    progress: Callable[[int], None] | None = None,
) -> VerificationReport:
    """Verify all entries, tree nodes, checkpoints and stage orders of a ledger.

    Args:
        ledger: the folder of the ledger, an export of it as JSON Lines, or its open store.
        verifier_key: the public key that the verifier trusts.
        known_checkpoints: checkpoints that the verifier kept, e.g. from receipts. They alone show a ledger that was set
            back as a whole to an earlier state.
        progress: called with the number of entries verified, now and then.

    Raises:
        LedgerError: if the ledger or the key cannot be read.
    """
    key = VerifierKey.parse(verifier_key) if isinstance(verifier_key, str) else verifier_key
    if isinstance(ledger, Store):
        with ledger.reading() as reader:
            return _Verification(key, progress).run(StoredLog(reader), known_checkpoints)
    if ledger.is_file():
        exported = ExportedLog(ledger)
        return _Verification(key, progress).run(exported, [*exported.published(), *known_checkpoints])
    store = open_store(ledger, read_only=True)
    try:
        with store.reading() as reader:
            return _Verification(key, progress).run(StoredLog(reader), [*known_checkpoints, *_published(ledger)])
    finally:
        store.close()


def _published(folder: Path) -> list[str]:
    path = folder / CHECKPOINT_FILE
    try:
        return [path.read_text(encoding="utf-8", errors="replace")] if path.exists() else []
    except OSError as error:
        raise LedgerError(f"cannot read the published checkpoint: {error.strerror}", where=str(path)) from error


class _Verification:
    """One verification; what contradicts is gathered in `problems`."""

    def __init__(self, key: VerifierKey, progress: Callable[[int], None] | None) -> None:
        self._key = key
        self._progress = progress
        self._problems: list[Problem] = []
        self._passed = EntryPass(self._report, frozenset())

    def run(self, log: Log, outside: Iterable[str]) -> VerificationReport:
        stored, outside = log.checkpoints(), list(outside)
        wanted = _claimed_sizes([*(text for _, text in stored), *outside])
        self._passed = passed = EntryPass(self._report, wanted)
        passed.run(log, self._progress)
        if isinstance(log, StoredLog):
            self._strays(log, passed.due)
        if log.cut:
            self._report("export.cut", "the export does not end as one ends; it was cut off")
        heads = [self._stored_head(size, text) for size, text in stored] + [self._head(text) for text in outside]
        known = [head for head in heads if head is not None]
        self._forks(known)
        signed = [head for head in known if self._head_fits(head)]
        if not stored:
            self._report("checkpoint.missing", "no checkpoint is stored, but every ledger begins with one")
        signed_size = max((head.size for head in signed), default=0)
        self._check_pruned(signed_size)
        return VerificationReport(
            origin=self._key.name,
            size=passed.tree.size,
            root=passed.tree.root().hex(),
            checkpoints=len(stored),
            signed_size=signed_size,
            unsigned_tail=passed.tree.size - signed_size,
            pruned=passed.bodiless,
            outcomes=dict(passed.requests.outcomes),
            open_requests=passed.requests.open_requests,
            problems=tuple(self._problems),
        )

    def _report(self, name: str, message: str, index: int | None = None) -> None:
        self._problems.append(Problem(name=name, message=message, index=index))

    def _strays(self, log: StoredLog, due: int) -> None:
        stray_entries, stray_nodes = log.strays(due)
        if stray_entries:
            self._report("entry.surplus", f"{stray_entries} entries have numbers that no entry can have")
        if stray_nodes:
            self._report("node.surplus", f"{stray_nodes} tree nodes end where no entry is")

    def _stored_head(self, size: int, text: str) -> Checkpoint | None:
        head = self._head(text, size)
        if head is not None and head.size != size:
            self._report("checkpoint.mislabelled", f"a checkpoint of size {head.size} is stored as {size}", size)
        return head

    def _head(self, text: str, size: int | None = None) -> Checkpoint | None:
        try:
            return verify_checkpoint(text, self._key)
        except LedgerTamperedError as error:
            self._report("checkpoint.signature", error.message, size)
            return None

    def _check_pruned(self, signed_size: int) -> None:
        """Only what a signed `pruned` record speaks of may be without its record."""
        passed = self._passed
        allowed = max((min(stop, index) for index, stop in passed.prunings if index < signed_size), default=0)
        if passed.bodiless and passed.last_bodiless >= allowed:
            message = "the record is gone, and no signed `pruned` record says that it may be"
            self._report("entry.erased", message, passed.last_bodiless)

    def _forks(self, heads: list[Checkpoint]) -> None:
        """Two signed heads of one size are a fork, whichever of them the entries fit."""
        first: dict[int, bytes] = {}
        for head in heads:
            if first.setdefault(head.size, head.root) != head.root:
                self._report("checkpoint.fork", f"two different heads of {head.size} entries were signed", head.size)

    def _head_fits(self, head: Checkpoint) -> bool:
        """Whether the tree has this head. All heads that fit one tree are consistent with one another."""
        if head.size > self._passed.tree.size:
            message = f"{head.size} entries were signed, but only {self._passed.tree.size} are here"
            self._report("checkpoint.ahead", message, head.size)
            return False
        if self._passed.roots.get(head.size) != head.root:
            message = f"the first {head.size} entries are not those that were signed"
            self._report("checkpoint.root", message, head.size)
            return False
        return True


def _claimed_sizes(texts: Iterable[str]) -> frozenset[int]:
    """The sizes that checkpoints claim, so that the roots of these trees are kept; believed in nothing."""
    sizes = set()
    for text in texts:
        with suppress(LedgerTamperedError):
            sizes.add(parse_checkpoint(text).size)
    return frozenset(sizes)
