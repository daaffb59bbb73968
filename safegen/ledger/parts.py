"""The parts that records are made of: checked words and numbers, and the small closed models over them.

Invariants: every value has one JSON form, so that the same record has the same bytes on every machine; nothing here can
hold a prompt, a picture or a key.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)

LARGEST_EXACT_INTEGER = 2**53 - 1
"""The largest integer that every JSON reader keeps exactly (RFC 8785, section 3.2.2.3)."""
_TIME_FORMAT = "%Y-%m-%dT%H:%M:%S.%fZ"


def timestamp(moment: datetime) -> str:
    """Write a moment as RFC 3339 in UTC with microseconds.

    Raises:
        ValueError: if the moment has no time zone.
    """
    if moment.tzinfo is None:
        raise ValueError("a ledger time needs a time zone; use datetime.now(UTC)")
    return moment.astimezone(UTC).strftime(_TIME_FORMAT)


def parse_timestamp(text: str) -> datetime:
    """Read what `timestamp` wrote."""
    return datetime.strptime(text, _TIME_FORMAT).replace(tzinfo=UTC)


def _real_time(text: str) -> str:
    if text[11:13] == "24":
        raise ValueError("there is no hour 24")
    datetime.fromisoformat(text[:-1])
    return text


def _seed_from_json(value: Any) -> Any:
    return int(value) if isinstance(value, str) and value.isascii() and value.isdecimal() else value


def _seed_to_json(value: int) -> int | str:
    return value if value <= LARGEST_EXACT_INTEGER else str(value)


Timestamp = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z$"),
    AfterValidator(_real_time),
]
Digest = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]
Hex256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
RequestId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Text = Annotated[str, StringConstraints(max_length=2000)]
Count = Annotated[int, Field(ge=0, le=LARGEST_EXACT_INTEGER)]
Seed = Annotated[
    int,
    Field(ge=0, lt=2**64),
    BeforeValidator(_seed_from_json),
    PlainSerializer(_seed_to_json, return_type=int | str),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 0, "maximum": LARGEST_EXACT_INTEGER},
                {"type": "string", "pattern": "^[0-9]{16,20}$"},
            ],
            "description": "A seed of up to 64 bits; above 2^53-1 it is a decimal string, as JSON numbers stop there.",
        }
    ),
]


class ClosedModel(BaseModel):
    """Frozen, and without room for anything unknown."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Parameters(ClosedModel):
    """What the caller asked for, apart from the prompt. A seed of null means that the caller left it to us."""

    n: Count
    width: Count
    height: Count
    steps: Count
    guidance: float
    seed: Seed | None = None
    scheduler: Name | None = None


class SealedText(ClosedModel):
    """A text that only the holder of its key can read: nonce (hex) and ciphertext with its tag (base64)."""

    cipher: Literal["chacha20-poly1305"]
    nonce: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{24}$")]
    text: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9+/]+={0,2}$", max_length=16_000)]


class PolicyReference(ClosedModel):
    """The policy in force, as written by its author; `digest` covers its content."""

    id: Name
    version: Name
    digest: Digest


class ModelReference(ClosedModel):
    """The base model in force."""

    id: Name
    digest: Digest


class BundleMember(ClosedModel):
    """One SPM that the decision switches on, and the rule that wants it."""

    concept: Name
    adapter: Name
    adapter_sha256: Hex256
    rule: Name
    strength: float
    transport: Name


class ReviewOrder(ClosedModel):
    """One review that a rule orders before the image may be released."""

    rule: Name
    reviewer: Name
    threshold: float
    on_failure: Name
    ladder: tuple[Name, ...]


class Refusal(ClosedModel):
    """Why nothing is drawn."""

    rule: Name
    reason: Text
    category: Name


class Permeability(ClosedModel):
    """How far one membrane was open: gamma, 0 meaning that it touched nothing."""

    adapter: Name
    concept: Name
    gamma: float
    escalated: bool = False


class Score(ClosedModel):
    """What one reviewer said about one label of one image; exactly one of `score` and `failure` is given."""

    reviewer: Name
    reviewer_digest: Digest | None
    rule: Name
    label: Name
    score: float | None
    threshold: float
    found: bool
    failure: Text | None = None

    @model_validator(mode="after")
    def _score_or_failure(self) -> Score:
        if (self.score is None) == (self.failure is None):
            raise ValueError("a review has a score or a failure, and never both")
        return self


class ImageOutcome(ClosedModel):
    """One image at the end: digests of its pixels and, where one was written, of its PNG file."""

    index: Count
    png_sha256: Hex256 | None
    pixels_sha256: Hex256
    outcome: Literal["released", "withheld"]


class Disagreement(ClosedModel):
    """Prevention and review contradict: the concept was erased yet found (leak), or neither needed nor found."""

    kind: Literal["leak", "false_trigger"]
    adapter: Name
    reviewer: Name
    score: float


class Failure(ClosedModel):
    """The error that ended a request: the `code` and message of a `SafegenError`."""

    code: Name
    message: Text
