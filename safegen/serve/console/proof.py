"""The proof that one entry is in the ledger, step by step, so that a reader can follow it.

Invariants: the verdict is that of `verify_receipt`; the steps are only its working, shown. What cannot be proven says
why, and a contradiction is told apart from an entry that is simply not signed yet.
"""

from __future__ import annotations

from dataclasses import dataclass

from safegen.errors import LedgerError, LedgerTamperedError
from safegen.ledger import Entry, LedgerReader, Receipt, VerifierKey, verify_receipt
from safegen.ledger.merkle import leaf_hash, node_hash


@dataclass(frozen=True)
class Step:
    """One hash of the path: the sibling, on which side it stands, and what the two give (all hex)."""

    side: str
    sibling: str
    result: str


@dataclass(frozen=True)
class Proof:
    """What was proven of an entry, or why nothing was. `verdict` is `proven`, `hash only`, `unsigned` or `broken`."""

    index: int
    verdict: str
    problem: str = ""
    leaf: str = ""
    steps: tuple[Step, ...] = ()
    root: str = ""
    size: int = 0
    receipt: Receipt | None = None


def prove(reader: LedgerReader, entry: Entry, key: VerifierKey) -> Proof:
    """Prove an entry against the newest checkpoint, and check the proof.

    A pruned entry is proven by its hash alone: that something with this hash was there, not what it said.
    """
    try:
        receipt = reader.prove(entry.index, key)
        head = verify_receipt(receipt, entry.body or None, key)
    except LedgerTamperedError as error:
        return Proof(entry.index, "broken", error.message)
    except LedgerError as error:
        readable = "is not signed yet" in error.message
        return Proof(entry.index, "unsigned" if readable else "broken", error.message)
    leaf = leaf_hash(entry.body) if entry.body else entry.leaf_hash
    return Proof(
        index=entry.index,
        verdict="proven" if entry.body else "hash only",
        leaf=leaf.hex(),
        steps=tuple(_steps(leaf, receipt)),
        root=head.root.hex(),
        size=head.size,
        receipt=receipt,
    )


def _steps(leaf: bytes, receipt: Receipt) -> list[Step]:
    """The walk of RFC 9162, section 2.1.3.2, with what each step gives."""
    steps: list[Step] = []
    position, last, computed = receipt.index, receipt.tree_size - 1, leaf
    for hexed in receipt.path:
        sibling = bytes.fromhex(hexed)
        on_left = position % 2 == 1 or position == last
        computed = node_hash(sibling, computed) if on_left else node_hash(computed, sibling)
        steps.append(Step("left" if on_left else "right", hexed, computed.hex()))
        while on_left and position % 2 == 0 and position:
            position, last = position // 2, last // 2
        position, last = position // 2, last // 2
    return steps
