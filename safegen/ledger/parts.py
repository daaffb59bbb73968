"""The parts that records are made of: checked words and numbers, and the small closed models over them.

Invariants: every value has one JSON form, so that the same record has the same bytes on every machine; nothing here can
hold a prompt, a picture or a key.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Literal

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


SINCE = "x-since"
"""Key under which the JSON Schema of a field says since which schema version it exists."""


def absent(value: object) -> bool:
    """Whether an optional field has nothing to say; it is then left out of the JSON, so that there is one form."""
    return value is None or value == ()


def added(default: tuple[()] | None = None) -> Any:
    """A field that version 2 added; where it has nothing to say it is left out."""
    return Field(default=default, exclude_if=absent, json_schema_extra={SINCE: 2})


class ClosedModel(BaseModel):
    """Frozen, and without room for anything unknown."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    added_names: ClassVar[frozenset[str]] = frozenset()
    """Fields that version 2 added."""

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        extras = {name: field.json_schema_extra for name, field in cls.model_fields.items()}
        cls.added_names = frozenset(
            name for name, extra in extras.items() if isinstance(extra, dict) and SINCE in extra
        )

    def beyond_version_1(self) -> bool:
        """Whether it says anything that schema version 1 had no words for."""
        for name in self.model_fields_set:
            value = getattr(self, name)
            if name in self.added_names and not absent(value):
                return True
            parts = value if isinstance(value, tuple) else (value,)
            if any(isinstance(part, ClosedModel) and part.beyond_version_1() for part in parts):
                return True
        return False


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
    text: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9+/]+={0,2}$", max_length=22_000)]


class PolicyReference(ClosedModel):
    """The policy in force, as written by its author; `digest` covers its content."""

    id: Name
    version: Name
    digest: Digest


class ModelReference(ClosedModel):
    """The base model in force."""

    id: Name
    digest: Digest


class Audience(ClosedModel):
    """For whom the app asked; whom a roll-out counts by is there as a keyed commitment only."""

    tenant: Name | None = added()
    market: Name | None = added()
    age_gate: Name
    subject_commitment: Hex256 | None = added()


class Decider(ClosedModel):
    """Who or what decided.

    `rule`, `policy` and `reviewer` go by their ids, `key` is the fingerprint that signed a policy file, `file` the name
    of one that nobody signed, `system` the software itself, `person` whoever gave the command.
    """

    kind: Literal["rule", "policy", "reviewer", "key", "file", "system", "person"]
    name: Name


class ShadowMatch(ClosedModel):
    """A rule that would have applied, were it not in shadow."""

    rule: Name
    action: Name
    concept: Name | None = added()


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
    """How far one membrane was open: gamma, 0 meaning that it touched nothing.

    `phrase` is the policy's phrase for the concept that the prompt came nearest to, `similarity` how near.
    """

    adapter: Name
    concept: Name
    gamma: float
    escalated: bool = False
    phrase: Name | None = added()
    similarity: float | None = added()


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
    """One image at the end: digests of its pixels, of its PNG file, and of that file once it was signed.

    `png_sha256` is of the file before content credentials were put into it; `signed_sha256` of the one that was handed
    out, where they were.
    """

    index: Count
    png_sha256: Hex256 | None
    pixels_sha256: Hex256
    outcome: Literal["released", "withheld"]
    signed_sha256: Hex256 | None = added()


class Disagreement(ClosedModel):
    """Prevention and review contradict, in one image or over a request.

    - `leak`: a membrane of the rule was open, and a reviewer of that rule found the concept all the same.
    - `miss`: a reviewer found the concept, and no membrane of its rule was open; `adapter` is one that stayed shut, and
      is left out if the decision switched none on.
    - `false_trigger`: a membrane was open although the policy matched no words for it, and every reviewer of the rule
      stayed below half its threshold in every image. A suspicion, as a concept that was erased well looks the same.
    """

    kind: Literal["leak", "miss", "false_trigger"]
    adapter: Name | None = Field(default=None, exclude_if=absent)
    reviewer: Name
    score: float
    rule: Name | None = added()
    attempt: Count | None = added()
    image: Count | None = added()

    @model_validator(mode="after")
    def _only_a_miss_has_no_adapter(self) -> Disagreement:
        if self.adapter is None and self.kind != "miss":
            raise ValueError(f"a {self.kind} names the adapter that acted")
        return self

    def beyond_version_1(self) -> bool:
        """Version 1 knew no misses."""
        return self.kind == "miss" or super().beyond_version_1()


class Failure(ClosedModel):
    """The error that ended a request: the `code` and message of a `SafegenError`."""

    code: Name
    message: Text
