"""Receipts: what a caller keeps to show later that a record is in the ledger, and the C2SP form of the same proof.

Invariants: a receipt is checked offline with the public key alone; it is believed only as far as record, path, root and
signature agree.

Source: https://c2sp.org/tlog-proof
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, ValidationError

from safegen.errors import LedgerTamperedError
from safegen.ledger import merkle
from safegen.ledger.checkpoint import (
    Checkpoint,
    VerifierKey,
    decode_base64,
    encode_base64,
    parse_checkpoint,
    verify_checkpoint,
)
from safegen.ledger.parts import ClosedModel, Count, Hex256, RequestId
from safegen.ledger.record import parse_record, request_of

PROOF_HEADER = "c2sp.org/tlog-proof@v1"
_LONGEST_PATH = 63


class Receipt(ClosedModel):
    """Proof that one record is in the ledger, as of a signed checkpoint."""

    origin: str
    request_id: RequestId | None
    index: Count
    leaf_hash: Hex256
    tree_size: Count
    path: Annotated[tuple[Hex256, ...], Field(max_length=_LONGEST_PATH)]
    checkpoint: str

    def to_json(self) -> str:
        """The receipt as text for a file."""
        return self.model_dump_json(indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> Receipt:
        """Read what `to_json` wrote.

        Raises:
            LedgerTamperedError: if the text is not a receipt.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            reason = error.errors(include_url=False)[0]["msg"]
            raise LedgerTamperedError(f"not a receipt: {reason}", hint="pass the file as it was handed out") from error

    def to_tlog_proof(self) -> str:
        """The same proof as a ``.tlog-proof`` file, which other transparency-log tools read."""
        path = [encode_base64(bytes.fromhex(step)) for step in self.path]
        return "\n".join([PROOF_HEADER, f"index {self.index}", *path, "", self.checkpoint])


@dataclass(frozen=True, slots=True)
class TlogProof:
    """The content of a ``.tlog-proof`` file; `extra` is signed by nobody."""

    index: int
    path: tuple[bytes, ...]
    checkpoint: Checkpoint
    extra: bytes = b""


def verify_receipt(receipt: Receipt, record_body: bytes | None, verifier_key: str | VerifierKey) -> Checkpoint:
    """Check a receipt, and that it is about this record (canonical bytes), and give the checkpoint it rests on.

    Without a record, only the leaf hash is shown to be in the ledger, not what it stands for.

    Raises:
        LedgerTamperedError: if anything disagrees.
        LedgerError: if the verifier key is none.
    """
    key = VerifierKey.parse(verifier_key) if isinstance(verifier_key, str) else verifier_key
    leaf = bytes.fromhex(receipt.leaf_hash)
    if record_body is not None:
        if merkle.leaf_hash(record_body) != leaf:
            raise LedgerTamperedError("the record is not the one that the receipt was given for")
        if request_of(parse_record(record_body)) != receipt.request_id:
            raise LedgerTamperedError("the receipt names another request than its record")
    checkpoint = verify_checkpoint(receipt.checkpoint, key)
    if (checkpoint.origin, checkpoint.size) != (receipt.origin, receipt.tree_size):
        raise LedgerTamperedError("the receipt and its checkpoint disagree on ledger or size")
    _check_inclusion(leaf, receipt.index, tuple(bytes.fromhex(step) for step in receipt.path), checkpoint)
    return checkpoint


def parse_tlog_proof(text: str) -> TlogProof:
    """Read a ``.tlog-proof`` without believing it.

    Raises:
        LedgerTamperedError: if the text is not such a proof.
    """
    head, _, note = text.partition("\n\n")
    header, *lines = head.split("\n")
    if header != PROOF_HEADER:
        raise LedgerTamperedError(f"not a proof: it does not begin with {PROOF_HEADER}")
    try:
        extra = decode_base64(lines.pop(0).removeprefix("extra ")) if lines and lines[0].startswith("extra ") else b""
        index = _index(lines)
        path = _path(lines[1:])
    except ValueError as error:
        raise LedgerTamperedError(f"not a proof: {error}") from error
    return TlogProof(index=index, path=path, checkpoint=parse_checkpoint(note), extra=extra)


def verify_tlog_proof(text: str, record_body: bytes, verifier_key: str | VerifierKey) -> Checkpoint:
    """Check a ``.tlog-proof`` about a record (canonical bytes) and give the checkpoint it rests on.

    Raises:
        LedgerTamperedError: if anything disagrees.
        LedgerError: if the verifier key is none.
    """
    key = VerifierKey.parse(verifier_key) if isinstance(verifier_key, str) else verifier_key
    proof = parse_tlog_proof(text)
    checkpoint = verify_checkpoint(proof.checkpoint.text, key)
    _check_inclusion(merkle.leaf_hash(record_body), proof.index, proof.path, checkpoint)
    return checkpoint


def _check_inclusion(leaf: bytes, index: int, path: tuple[bytes, ...], checkpoint: Checkpoint) -> None:
    if not merkle.verify_inclusion(leaf, index, checkpoint.size, path, checkpoint.root):
        raise LedgerTamperedError(f"the path does not lead from entry {index} to the signed root")


def _index(lines: list[str]) -> int:
    word, _, number = lines[0].partition(" ") if lines else ("", "", "")
    if word != "index" or not number.isascii() or not number.isdecimal() or str(int(number)) != number:
        raise ValueError("the index is missing")
    return int(number)


def _path(lines: list[str]) -> tuple[bytes, ...]:
    if len(lines) > _LONGEST_PATH:
        raise ValueError(f"its path has more than {_LONGEST_PATH} steps")
    return tuple(map(_step, lines))


def _step(line: str) -> bytes:
    step = decode_base64(line)
    if len(step) != merkle.HASH_BYTES:
        raise ValueError(f"a step of its path has {len(step)} bytes, not {merkle.HASH_BYTES}")
    return step
