"""The ledger: a signed, append-only log of every request, which an outsider can verify with a public key.

Invariants: pure but for `store` (the database) and `keys` (files); knows nothing of policies, models or reviewers, only
their names, digests and numbers. A guard writes it through `Ledger`; an auditor reads it through `LedgerReader` and
checks it with `verify_ledger` and `verify_receipt`.
"""

from __future__ import annotations

from safegen.ledger.checkpoint import Checkpoint, VerifierKey, parse_checkpoint, verify_checkpoint
from safegen.ledger.folder import read_public_key
from safegen.ledger.keys import LedgerKeys
from safegen.ledger.ledger import Ledger, utc_now
from safegen.ledger.parts import (
    Audience,
    BundleMember,
    Decider,
    Disagreement,
    Failure,
    ImageOutcome,
    ModelReference,
    Parameters,
    Permeability,
    PolicyReference,
    Refusal,
    ReviewOrder,
    Score,
    SealedText,
    ShadowMatch,
    timestamp,
)
from safegen.ledger.publishing import CheckpointSink, FileSink, Witness
from safegen.ledger.reader import LedgerReader
from safegen.ledger.receipt import Receipt, TlogProof, parse_tlog_proof, verify_receipt, verify_tlog_proof
from safegen.ledger.record import (
    Closed,
    Decided,
    Drawn,
    PolicyChanged,
    PolicyRejected,
    Pruned,
    Record,
    Recovered,
    Requested,
    Reviewed,
    canonical_bytes,
    parse_record,
    record_schema_text,
)
from safegen.ledger.sealing import PromptKeys
from safegen.ledger.summary import RequestSummary
from safegen.ledger.transaction import Entry
from safegen.ledger.verify import Problem, VerificationReport, verify_ledger
from safegen.ledger.witness import HttpWitness, WitnessKey, check_cosignatures, cosigned_at

__all__ = [
    "Audience",
    "BundleMember",
    "Checkpoint",
    "CheckpointSink",
    "Closed",
    "Decided",
    "Decider",
    "Disagreement",
    "Drawn",
    "Entry",
    "Failure",
    "FileSink",
    "HttpWitness",
    "ImageOutcome",
    "Ledger",
    "LedgerKeys",
    "LedgerReader",
    "ModelReference",
    "Parameters",
    "Permeability",
    "PolicyChanged",
    "PolicyReference",
    "PolicyRejected",
    "Problem",
    "PromptKeys",
    "Pruned",
    "Receipt",
    "Record",
    "Recovered",
    "Refusal",
    "RequestSummary",
    "Requested",
    "ReviewOrder",
    "Reviewed",
    "Score",
    "SealedText",
    "ShadowMatch",
    "TlogProof",
    "VerificationReport",
    "VerifierKey",
    "Witness",
    "WitnessKey",
    "canonical_bytes",
    "check_cosignatures",
    "cosigned_at",
    "parse_checkpoint",
    "parse_record",
    "parse_tlog_proof",
    "read_public_key",
    "record_schema_text",
    "timestamp",
    "utc_now",
    "verify_checkpoint",
    "verify_ledger",
    "verify_receipt",
    "verify_tlog_proof",
]
