"""Signing tree heads: within the transaction that holds what they cover, and never against an earlier one.

Invariants: a head is signed over the entries of the transaction that stores it, and leaves the process only once that
transaction is durable; it never contradicts an earlier head, nor has fewer entries; no second head of one size is
signed.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from safegen.errors import LedgerError, LedgerTamperedError
from safegen.ledger.checkpoint import Checkpoint, verify_checkpoint
from safegen.ledger.folder import CHECKPOINT_FILE

if TYPE_CHECKING:
    from safegen.ledger.keys import LedgerKeys
    from safegen.ledger.transaction import Reader, Writer


class Heads:
    """The signed heads of one ledger. What was verified or signed here last is not verified again."""

    def __init__(self, folder: Path, keys: LedgerKeys) -> None:
        self._published = folder / CHECKPOINT_FILE
        self._keys = keys
        self._key = keys.verifier_key
        self._believed: dict[str, Checkpoint] = {}

    def last(self, reader: Reader) -> Checkpoint | None:
        """The largest head known, whether the database has it or only the published file.

        Raises:
            LedgerTamperedError: if one is not signed by the ledger's key.
            LedgerError: if the published file cannot be read.
        """
        return self._largest(reader.latest_checkpoint())

    def _largest(self, stored: str | None) -> Checkpoint | None:
        before, texts = self._believed, {text for text in (stored, self.published()) if text is not None}
        known = {text: before.get(text) or verify_checkpoint(text, self._key) for text in texts}
        self._believed = known
        return max(known.values(), key=lambda checkpoint: checkpoint.size, default=None)

    def published(self) -> str | None:
        """The text of the published file; None if there is none.

        Raises:
            LedgerError: if it cannot be read.
        """
        try:
            return self._published.read_text(encoding="utf-8") if self._published.exists() else None
        except (OSError, ValueError) as error:
            raise LedgerError(f"cannot read the published checkpoint: {error}", where=str(self._published)) from error

    def sign(self, writer: Writer) -> Checkpoint:
        """Sign the head over all entries, those of the open transaction included, and store it in that transaction.

        Raises:
            LedgerTamperedError: if the entries contradict an earlier head; nothing is signed then.
        """
        size, stored = writer.size(), writer.latest_checkpoint()
        last = self._largest(stored)
        if last is not None:
            check_extends(writer, size, last)
        signed = last if last is not None and last.size == size else self._keys.sign(size, writer.root(size))
        if stored != signed.text:
            writer.add_checkpoint(signed.size, signed.text)
        self._believed = {**self._believed, signed.text: signed}
        return signed


def check_extends(reader: Reader, size: int, last: Checkpoint) -> None:
    """Raise `LedgerTamperedError` if the `size` entries do not begin with those that were signed."""
    hint = "keep the files as evidence, run `safegen audit verify`, restore a copy"
    if last.size > size:
        raise LedgerTamperedError(f"the ledger has {size} entries, but {last.size} were signed", hint=hint)
    if reader.root(last.size) != last.root:
        raise LedgerTamperedError(f"the first {last.size} entries are not those that were signed", hint=hint)
