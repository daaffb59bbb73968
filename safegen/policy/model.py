"""The policy format: frozen models of what a policy author may write.

Invariants: nothing unknown is accepted; a `Policy` that exists is consistent (see `checks`), whoever built it; equal
content has an equal digest, whatever the layout and comments of the file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal, TypeAlias

import rfc8785
from pydantic import BaseModel, ConfigDict, Discriminator, Field, StringConstraints, Tag, model_validator
from pydantic_core import PydanticCustomError

from safegen.policy.checks import semantic_problems
from safegen.policy.phrases import PhraseIndex

API_VERSION = "safegen/v1"
LARGEST_STRENGTH = 4.0
INCONSISTENT = "policy_inconsistent"
"""Type of the validation error for a policy that reads well and says something impossible."""

Action: TypeAlias = Literal["allow", "erase", "refuse", "review"]
Scope: TypeAlias = Literal["matched", "always"]
Transport: TypeAlias = Literal["paper", "open"]
Step: TypeAlias = Literal["escalate", "reseed", "withhold", "release"]
FailureMode: TypeAlias = Literal["withhold", "release"]
Slug: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,99}$")]
AdapterId: TypeAlias = Annotated[
    str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._-]*)*$", max_length=200)
]
Name: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=100)]
Phrase: TypeAlias = Annotated[str, StringConstraints(max_length=200)]
Text: TypeAlias = Annotated[str, StringConstraints(max_length=2000)]
Version: TypeAlias = Annotated[int, Field(strict=True, ge=1, le=2**53 - 1)]
Strength: TypeAlias = Annotated[float, Field(strict=True, gt=0, le=LARGEST_STRENGTH, allow_inf_nan=False)]
Permeability: TypeAlias = Annotated[float, Field(strict=True, ge=0, le=LARGEST_STRENGTH, allow_inf_nan=False)]
Threshold: TypeAlias = Annotated[float, Field(strict=True, ge=0, le=1, allow_inf_nan=False)]


class Closed(BaseModel):
    """A frozen model that accepts no field it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_by_name=True, validate_by_alias=True)


class Concept(Closed):
    """Something a picture can show, with the words that ask for it."""

    name: Name
    category: Slug
    phrases: Annotated[tuple[Phrase, ...], Field(min_length=1)]
    adapter: AdapterId | None = None


class Words(Closed):
    """What a rule looks for in a prompt: any of these concepts, categories or plain phrases."""

    concepts: tuple[Name, ...] = ()
    categories: tuple[Slug, ...] = ()
    phrases: tuple[Phrase, ...] = ()


def _match_kind(value: Any) -> str:
    """Which branch of `match` a value belongs to, so that mistakes are reported for that branch only."""
    return "words" if isinstance(value, dict | Words) else "every prompt"


Match: TypeAlias = Annotated[
    Annotated[Literal["any"], Tag("every prompt")] | Annotated[Words, Tag("words")], Discriminator(_match_kind)
]


class Review(Closed):
    """A look at the finished image by a classifier, and what follows when it finds something."""

    reviewer: Slug
    concepts: tuple[Name, ...] = ()
    labels: tuple[Name, ...] = ()
    threshold: Threshold = 0.5
    ladder: Annotated[tuple[Step, ...], Field(min_length=1)] = ("withhold",)
    on_failure: FailureMode = "withhold"


class EraseReview(Review):
    """A review under an erase rule, where escalating (membranes fully open) is possible."""

    ladder: Annotated[tuple[Step, ...], Field(min_length=1)] = ("escalate", "reseed", "withhold")


class BaseRule(Closed):
    """What all rules have in common."""

    id: Slug
    description: Text = ""
    match: Match
    action: Action
    reason: Text = ""


class AllowRule(BaseRule):
    """Takes its matched words out of the reach of erase and review rules."""

    action: Literal["allow"]


class EraseRule(BaseRule):
    """Puts the SPMs of its concepts into the bundle."""

    action: Literal["erase"]
    scope: Scope = "matched"
    strength: Strength = 1.0
    transport: Transport = "paper"
    floor: Permeability = 0.0
    ceiling: Permeability = LARGEST_STRENGTH
    cutoff: Permeability = 0.0
    reviews: tuple[EraseReview, ...] = ()


class RefuseRule(BaseRule):
    """Draws nothing and tells the app why."""

    action: Literal["refuse"]
    reason: Annotated[str, StringConstraints(min_length=1, max_length=2000)]


class ReviewRule(BaseRule):
    """Changes no pixel; has the finished image looked at."""

    action: Literal["review"]
    reviews: Annotated[tuple[Review, ...], Field(min_length=1)]


Rule: TypeAlias = Annotated[AllowRule | EraseRule | RefuseRule | ReviewRule, Field(discriminator="action")]
RULE_KINDS: dict[str, type[BaseRule]] = {
    "allow": AllowRule,
    "erase": EraseRule,
    "refuse": RefuseRule,
    "review": ReviewRule,
}


@dataclass(frozen=True, slots=True)
class Trigger:
    """What it means when a phrase is found: the rule that looks for it, and the concept that it stands for."""

    rule: str
    action: Action
    concept: str | None
    category: str | None
    phrase: str


class Policy(Closed):
    """One version of a policy."""

    api_version: Annotated[Literal["safegen/v1"], Field(alias="apiVersion")]
    kind: Literal["Policy"]
    id: Slug
    version: Version
    description: Text = ""
    base: AdapterId
    concepts: tuple[Concept, ...] = ()
    rules: tuple[Rule, ...]

    @model_validator(mode="after")
    def _consistent(self) -> Policy:
        for problem in semantic_problems(self.model_dump(mode="json", by_alias=True)):
            place = ".".join(str(part) for part in problem.path)
            raise PydanticCustomError(INCONSISTENT, "{place}: {text}", {"place": place, "text": problem.message})
        return self

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Policy:  # noqa: ARG002
        """A copy that is validated anew, so that it is consistent and its digest is its own."""
        fields = {name: getattr(self, name) for name in Policy.model_fields}
        return Policy.model_validate({**fields, **(update or {})})

    @cached_property
    def digest(self) -> str:
        """`sha256:<hex>` over the canonical JSON (RFC 8785) of the whole policy, defaults written out."""
        canonical = rfc8785.dumps(self.model_dump(mode="json", by_alias=True))
        return f"sha256:{hashlib.sha256(canonical).hexdigest()}"

    def concepts_of(self, rule: BaseRule) -> tuple[Concept, ...]:
        """The concepts that a rule names, directly or by category, in the policy's order."""
        words = rule.match
        if not isinstance(words, Words):
            return ()
        return tuple(one for one in self.concepts if one.name in words.concepts or one.category in words.categories)

    @cached_property
    def triggers(self) -> PhraseIndex[Trigger]:
        """All words that the rules look for, ready to be found in prompts."""
        return PhraseIndex((trigger.phrase, trigger) for rule in self.rules for trigger in self._triggers_of(rule))

    def _triggers_of(self, rule: BaseRule) -> Iterator[Trigger]:
        for concept in self.concepts_of(rule):
            for phrase in concept.phrases:
                yield Trigger(rule.id, rule.action, concept.name, concept.category, phrase)
        if isinstance(rule.match, Words):
            for phrase in rule.match.phrases:
                yield Trigger(rule.id, rule.action, None, None, phrase)

    def rule(self, rule_id: str) -> BaseRule:
        """The rule of that id.

        Raises:
            KeyError: there is none.
        """
        for rule in self.rules:
            if rule.id == rule_id:
                return rule
        raise KeyError(rule_id)
