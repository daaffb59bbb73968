"""The words that policies are made of: checked names and numbers, concepts, and the conditions that rules share.

Invariant: nothing unknown is accepted, and nothing that exists can be changed.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, StringConstraints, Tag
from pydantic_core import PydanticCustomError

API_VERSION = "safegen/v1"
LARGEST_STRENGTH = 4.0
NO_SUCH_DATE = "no_such_date"
"""Type of the validation error for a date that is in no calendar."""

Action: TypeAlias = Literal["allow", "erase", "redact", "refuse", "review"]
Mode: TypeAlias = Literal["enforce", "shadow"]
Scope: TypeAlias = Literal["matched", "always"]
Transport: TypeAlias = Literal["calibrated", "paper", "open"]
PromptRecord: TypeAlias = Literal["commitment", "sealed"]
Step: TypeAlias = Literal["escalate", "reseed", "withhold", "release"]
FailureMode: TypeAlias = Literal["withhold", "release"]
AgeGate: TypeAlias = Literal["passed", "failed", "unknown"]
Slug: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,99}$")]
Language: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$")]
AdapterId: TypeAlias = Annotated[
    str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._-]*)*$", max_length=200)
]
PolicyPath: TypeAlias = Annotated[
    str, StringConstraints(pattern=r"^(\.\./)*[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*\.ya?ml$")
]
Name: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=100)]
Phrase: TypeAlias = Annotated[str, StringConstraints(max_length=200)]
Text: TypeAlias = Annotated[str, StringConstraints(max_length=2000)]
Reason: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=2000)]
Version: TypeAlias = Annotated[int, Field(strict=True, ge=1, le=2**53 - 1)]
Strength: TypeAlias = Annotated[float, Field(strict=True, gt=0, le=LARGEST_STRENGTH, allow_inf_nan=False)]
Permeability: TypeAlias = Annotated[float, Field(strict=True, ge=0, le=LARGEST_STRENGTH, allow_inf_nan=False)]
Threshold: TypeAlias = Annotated[float, Field(strict=True, ge=0, le=1, allow_inf_nan=False)]


def _real_date(text: str) -> str:
    try:
        date.fromisoformat(text)
    except ValueError as error:
        raise PydanticCustomError(NO_SUCH_DATE, "{text} is no day of the calendar", {"text": text}) from error
    return text


Day: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"), AfterValidator(_real_date)]


class Closed(BaseModel):
    """A frozen model that accepts no field it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_by_name=True, validate_by_alias=True)


class Concept(Closed):
    """Something a picture can show, with the words that ask for it.

    Attributes:
        phrases: words that ask for it; the first one also describes it to reviewers.
        aliases: the same in other languages, by language tag (`de`, `pt-BR`).
        surrogate: what the adapter was trained to draw instead.
    """

    name: Name
    category: Slug
    phrases: Annotated[tuple[Phrase, ...], Field(min_length=1)]
    aliases: dict[Language, tuple[Phrase, ...]] = {}
    surrogate: Name | None = None
    adapter: AdapterId | None = None

    @property
    def words(self) -> tuple[str, ...]:
        """All phrases, those of other languages after the first list."""
        return (*self.phrases, *(phrase for language in self.aliases.values() for phrase in language))


class Companions(Closed):
    """Words of which one must stand somewhere in the same prompt."""

    concepts: tuple[Name, ...] = ()
    categories: tuple[Slug, ...] = ()
    phrases: tuple[Phrase, ...] = ()


class Words(Closed):
    """What a rule looks for in a prompt: any of these concepts, categories or plain phrases.

    Attributes:
        alongside: if given, they only count in a prompt that also holds one of these words.
    """

    concepts: tuple[Name, ...] = ()
    categories: tuple[Slug, ...] = ()
    phrases: tuple[Phrase, ...] = ()
    alongside: Companions | None = None


def _match_kind(value: Any) -> str:
    """Which branch of `match` a value belongs to, so that mistakes are reported for that branch only."""
    return "words" if isinstance(value, dict | Words) else "every prompt"


Match: TypeAlias = Annotated[
    Annotated[Literal["any"], Tag("every prompt")] | Annotated[Words, Tag("words")], Discriminator(_match_kind)
]


class When(Closed):
    """Which requests a rule or an exception is for: those whose attribute is in each list that is not empty."""

    tenants: tuple[Slug, ...] = ()
    markets: tuple[Slug, ...] = ()
    age_gate: tuple[AgeGate, ...] = ()


class Rollout(Closed):
    """A staged start: the rule is in force for this share of the subjects, and in shadow for the rest.

    Attributes:
        percent: 0..100; who is in at a lower percentage stays in at a higher one.
        seed: names the draw of lots; the rule's id if empty.
    """

    percent: Annotated[float, Field(strict=True, ge=0, le=100, allow_inf_nan=False)]
    seed: Annotated[str, StringConstraints(max_length=100)] = ""


class Records(Closed):
    """What the ledger keeps of a request.

    Attributes:
        prompts: `commitment` keeps a keyed commitment alone; `sealed` also the encrypted text, which only the holder of
            the sealing key can read again.
    """

    prompts: PromptRecord = "commitment"


class RuleException(Closed):
    """Lifts named rules for some words or some requests until a day, in somebody's name.

    Attributes:
        rules: ids of the rules that are lifted.
        match: the words that are freed, or `any`.
        expires: the last day (UTC) on which it holds.
    """

    id: Slug
    rules: Annotated[tuple[Slug, ...], Field(min_length=1)]
    match: Match = "any"
    when: When = When()
    owner: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    reason: Reason
    expires: Day
