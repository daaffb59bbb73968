"""The records of the ledger: one closed, frozen, versioned model for each stage of a request.

Invariants: a record holds no prompt, no picture and no key, only commitments, digests, numbers and names. Its canonical
bytes (RFC 8785) are what is hashed, so the same record has the same bytes on every machine, and bytes that are not
canonical are not a record. An unknown field, stage or version is an error, never ignored.
"""

from __future__ import annotations

import json
from typing import Annotated, Literal

import rfc8785
from pydantic import Field, TypeAdapter, ValidationError

from safegen.errors import LedgerError, LedgerWriteError
from safegen.ledger.canonical import canonical_value
from safegen.ledger.parts import (
    BundleMember,
    ClosedModel,
    Count,
    Digest,
    Disagreement,
    Failure,
    Hex256,
    ImageOutcome,
    ModelReference,
    Name,
    Parameters,
    Permeability,
    PolicyReference,
    Refusal,
    RequestId,
    ReviewOrder,
    Score,
    SealedText,
    Seed,
    Text,
    Timestamp,
)

SCHEMA_VERSION: Literal[1] = 1
ENTRY_BYTES_LIMIT = 65_535
"""An entry is shorter than this, so that its length fits the uint16 of the C2SP tlog-tiles format."""


def _absent(value: object) -> bool:
    return value is None


class _Common(ClosedModel):
    schema_version: Literal[1] = 1
    time: Timestamp


class _OfRequest(_Common):
    request_id: RequestId


class Requested(_OfRequest):
    """A request arrived; nothing has been decided."""

    stage: Literal["requested"] = "requested"
    prompt_commitment: Hex256
    negative_prompt_commitment: Hex256 | None = None
    parameters: Parameters
    policy: PolicyReference
    base_model: ModelReference
    software: dict[Name, Name]
    sealed_prompt: SealedText | None = Field(default=None, exclude_if=_absent)
    sealed_negative_prompt: SealedText | None = Field(default=None, exclude_if=_absent)


class Decided(_OfRequest):
    """The policy decided; no pixel exists yet."""

    stage: Literal["decided"] = "decided"
    action: Name
    rules: tuple[Name, ...] = ()
    bundle: tuple[BundleMember, ...] = ()
    reviews: tuple[ReviewOrder, ...] = ()
    refusal: Refusal | None = None


class Drawn(_OfRequest):
    """One attempt was drawn: attempt 0 first, then one more for each step of the ladder."""

    stage: Literal["drawn"] = "drawn"
    attempt: Count
    seeds: tuple[Seed, ...]
    permeabilities: tuple[Permeability, ...] = ()
    image_sha256s: tuple[Hex256, ...]


class Reviewed(_OfRequest):
    """The reviewers looked at one image of one attempt."""

    stage: Literal["reviewed"] = "reviewed"
    attempt: Count
    image: Count
    scores: tuple[Score, ...]
    verdict: Literal["release", "escalate", "reseed", "withhold"]


class Closed(_OfRequest):
    """The request is over; nothing of it may follow."""

    stage: Literal["closed"] = "closed"
    outcome: Literal["released", "refused", "withheld", "error", "interrupted"]
    images: tuple[ImageOutcome, ...] = ()
    attempts: Count = 0
    disagreements: tuple[Disagreement, ...] = ()
    error: Failure | None = None


class Recovered(_OfRequest):
    """The process of an open request is gone; a later one closes the request in its stead."""

    stage: Literal["recovered"] = "recovered"
    reason: Text


class PolicyChanged(_Common):
    """Another policy is in force from here on; belongs to no request."""

    stage: Literal["policy_changed"] = "policy_changed"
    policy_id: Name
    old_digest: Digest | None
    new_digest: Digest


class Pruned(_Common):
    """From here on the bodies of entries below `stop` may be gone; their hashes stay. Belongs to no request."""

    stage: Literal["pruned"] = "pruned"
    stop: Count
    reason: Text


LEDGER_STAGES = frozenset({"policy_changed", "pruned"})
"""Stages of the ledger itself, which belong to no request and are never pruned."""
Record = Requested | Decided | Drawn | Reviewed | Closed | Recovered | PolicyChanged | Pruned
_ADAPTER: TypeAdapter[Record] = TypeAdapter(Annotated[Record, Field(discriminator="stage")])


def request_of(record: Record) -> str | None:
    """The request that the record belongs to, or None for a record of the ledger itself."""
    if record.stage == "policy_changed" or record.stage == "pruned":  # noqa: PLR1714 - mypy follows this form only
        return None
    return record.request_id


def canonical_bytes(record: Record) -> bytes:
    """The bytes of the record that are hashed and stored (RFC 8785).

    Raises:
        LedgerWriteError: if the record has no canonical form or is too long for an entry.
    """
    try:
        body = rfc8785.dumps(record.model_dump(mode="json"))
    except (rfc8785.CanonicalizationError, ValueError) as error:
        raise LedgerWriteError(f"the {record.stage} record has no canonical form: {error}") from error
    if len(body) >= ENTRY_BYTES_LIMIT:
        raise LedgerWriteError(
            f"the {record.stage} record has {len(body)} bytes; an entry has fewer than {ENTRY_BYTES_LIMIT}",
            hint="ask for fewer images in one request, or shorten the names of rules and concepts",
        )
    return body


def parse_record(body: bytes) -> Record:
    """Read the canonical bytes of a record.

    Raises:
        LedgerError: if the bytes are not exactly the canonical form of a record that this version knows.
    """
    try:
        record = _ADAPTER.validate_json(body, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise LedgerError(
            f"not a ledger record: {first['msg']}",
            where=place,
            hint="a newer safegen may have written it; read it with that version",
        ) from error
    if len(body) >= ENTRY_BYTES_LIMIT or record.model_dump(mode="json") != canonical_value(body):
        raise LedgerError("the record is not in its canonical form (RFC 8785)")
    return record


def record_schema_text() -> str:
    """The JSON Schema of all records, as the text of ``audit/schema/record.schema.json``."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"https://safegen.dev/schema/ledger-record-{SCHEMA_VERSION}.json",
        "title": "Record of the safegen ledger",
        **_ADAPTER.json_schema(mode="serialization"),
    }
    return json.dumps(schema, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
