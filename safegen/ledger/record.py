"""The records of the ledger: one closed, frozen, versioned model for each stage of a request.

Invariants: a record holds no prompt, no picture and no key, only commitments, digests, numbers and names. Its canonical
bytes (RFC 8785) are what is hashed, so the same record has the same bytes on every machine, and bytes that are not
canonical are not a record. An unknown field, stage or version is an error, never ignored. Version 2 is written; version
1, which knew less, is read as what it was.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, Self

from pydantic import Field, TypeAdapter, ValidationError, model_validator

from safegen.errors import LedgerError, LedgerWriteError
from safegen.ledger.canonical import canonical_text, canonical_value
from safegen.ledger.parts import (
    Audience,
    BundleMember,
    ClosedModel,
    Count,
    Decider,
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
    ShadowMatch,
    Text,
    Timestamp,
    absent,
    added,
)

SCHEMA_VERSION = 2
ENTRY_BYTES_LIMIT = 65_535
"""An entry is shorter than this, so that its length fits the uint16 of the C2SP tlog-tiles format."""


class _Common(ClosedModel):
    schema_version: Annotated[int, Field(ge=1, le=SCHEMA_VERSION, strict=True)] = SCHEMA_VERSION
    time: Timestamp

    @model_validator(mode="after")
    def _version_1_says_no_more_than_it_could(self) -> Self:
        if self.schema_version == 1 and self.beyond_version_1():
            raise ValueError("it says what only records of version 2 can say")
        return self


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
    sealed_prompt: SealedText | None = Field(default=None, exclude_if=absent)
    sealed_negative_prompt: SealedText | None = Field(default=None, exclude_if=absent)
    audience: Audience | None = added()


class Decided(_OfRequest):
    """The policy decided; no pixel exists yet.

    `drawn_prompt_commitment` is there if rules took words out of the prompt: the keyed commitment of what is drawn.
    """

    stage: Literal["decided"] = "decided"
    action: Name
    rules: tuple[Name, ...] = ()
    bundle: tuple[BundleMember, ...] = ()
    reviews: tuple[ReviewOrder, ...] = ()
    refusal: Refusal | None = None
    shadow: tuple[ShadowMatch, ...] = added(())
    drawn_prompt_commitment: Hex256 | None = added()
    decided_by: tuple[Decider, ...] = added(())


class Drawn(_OfRequest):
    """One attempt was drawn: attempt 0 first, then one more for each step of the ladder.

    `seeds`, `image_sha256s` (digests of pixels) and `images` (numbers) are of the same images in the same order;
    `environment` is where they were drawn, which decides whether they can be drawn again bit for bit.
    """

    stage: Literal["drawn"] = "drawn"
    attempt: Count
    seeds: tuple[Seed, ...]
    permeabilities: tuple[Permeability, ...] = ()
    image_sha256s: tuple[Hex256, ...]
    images: tuple[Count, ...] = added(())
    environment: dict[Name, Name] | None = added()


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
    decided_by: tuple[Decider, ...] = added(())


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
    policy_version: Name | None = added()
    decided_by: tuple[Decider, ...] = added(())


class PolicyRejected(_Common):
    """A changed policy could not be used, and the one of digest `in_force` stays; belongs to no request."""

    stage: Literal["policy_rejected"] = "policy_rejected"
    in_force: Digest
    file: Name
    code: Name
    problem: Text

    def beyond_version_1(self) -> bool:
        """Version 1 had no such record."""
        return True


class Pruned(_Common):
    """From here on the bodies of entries below `stop` may be gone; their hashes stay. Belongs to no request."""

    stage: Literal["pruned"] = "pruned"
    stop: Count
    reason: Text
    decided_by: tuple[Decider, ...] = added(())


LEDGER_STAGES = frozenset({"policy_changed", "policy_rejected", "pruned"})
"""Stages of the ledger itself, which belong to no request and are never pruned."""
RequestRecord = Requested | Decided | Drawn | Reviewed | Closed | Recovered
Record = RequestRecord | PolicyChanged | PolicyRejected | Pruned
_ADAPTER: TypeAdapter[Record] = TypeAdapter(Annotated[Record, Field(discriminator="stage")])


def request_of(record: Record) -> str | None:
    """The request that the record belongs to, or None for a record of the ledger itself."""
    return record.request_id if isinstance(record, RequestRecord) else None


def canonical_bytes(record: Record) -> bytes:
    """The bytes of the record that are hashed and stored (RFC 8785).

    Raises:
        LedgerWriteError: if the record has no canonical form or is too long for an entry.
    """
    try:
        body = canonical_text(record.model_dump(mode="json"))
    except ValueError as error:
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
    for model in schema["$defs"].values():
        _leave_out(model)
    return json.dumps(schema, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _leave_out(model: dict[str, Any]) -> None:
    """Say of optional fields that they are left out, and never null or empty."""
    for name, field in model.get("properties", {}).items():
        if name in model.get("required", ()) or "default" not in field:
            continue
        default = field.pop("default")
        if default == []:
            field["minItems"] = 1
        elif default is None:
            (kept,) = (kind for kind in field.pop("anyOf") if kind != {"type": "null"})
            field.update(kept)
