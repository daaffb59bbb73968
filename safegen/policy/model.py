"""A whole policy: frozen, consistent, with a digest of its own.

Invariants: nothing unknown is accepted; a `Policy` that exists is consistent (see `checks`), whoever built it; equal
content has an equal digest, whatever the layout of the file and the order of its concepts and rules.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationInfo, model_validator
from pydantic_core import PydanticCustomError

from safegen.policy.canonical import canonical_json
from safegen.policy.checks import semantic_problems
from safegen.policy.parts import (
    Action,
    AdapterId,
    Closed,
    Companions,
    Concept,
    Match,
    Mode,
    PolicyPath,
    Records,
    RuleException,
    Slug,
    Text,
    Version,
    Words,
)
from safegen.policy.phrases import PhraseIndex
from safegen.policy.rules import BaseRule, EraseRule, Rule


def _by_name(concepts: tuple[Concept, ...]) -> tuple[Concept, ...]:
    return tuple(sorted(concepts, key=attrgetter("name")))


def _by_id(rules: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(sorted(rules, key=attrgetter("id")))


@dataclass(frozen=True, slots=True)
class Trigger:
    """What it means when a phrase is found: who looks for it, and the concept that it stands for.

    `owner` is the id of a rule, or of an exception, whose `action` is None. A `companion` only makes the owner's other
    words count.
    """

    owner: str
    action: Action | None
    concept: str | None
    category: str | None
    phrase: str
    companion: bool = False


class Policy(Closed):
    """One version of a policy. Rules are kept in the order of their ids, concepts in that of their names."""

    api_version: Annotated[Literal["safegen/v1"], Field(alias="apiVersion")]
    kind: Literal["Policy"]
    id: Slug
    version: Version
    description: Text = ""
    extends: tuple[PolicyPath, ...] = ()
    mode: Mode = "enforce"
    base: AdapterId
    records: Records = Records()
    concepts: Annotated[tuple[Concept, ...], AfterValidator(_by_name)] = ()
    rules: Annotated[tuple[Rule, ...], AfterValidator(_by_id)]
    exceptions: Annotated[tuple[RuleException, ...], AfterValidator(_by_id)] = ()

    @model_validator(mode="after")
    def _consistent(self, info: ValidationInfo) -> Policy:
        if info.context == "checked":
            return self
        for problem in semantic_problems(self.model_dump(mode="json", by_alias=True)):
            place = ".".join(str(part) for part in problem.path)
            raise PydanticCustomError(
                "policy_inconsistent", "{place}: {text}", {"place": place, "text": problem.message}
            )
        return self

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Policy:  # noqa: ARG002
        """A copy that is validated anew, so that it is consistent and its digest is its own."""
        fields = {name: getattr(self, name) for name in Policy.model_fields}
        return Policy.model_validate({**fields, **(update or {})})

    @cached_property
    def digest(self) -> str:
        """`sha256:<hex>` over the canonical JSON (RFC 8785) of the whole policy, defaults written out."""
        canonical = canonical_json(self.model_dump(mode="json", by_alias=True))
        return f"sha256:{hashlib.sha256(canonical).hexdigest()}"

    @cached_property
    def _by_key(self) -> tuple[dict[str, Concept], dict[str, list[Concept]], dict[str, BaseRule]]:
        categories: dict[str, list[Concept]] = {}
        for concept in self.concepts:
            categories.setdefault(concept.category, []).append(concept)
        return {one.name: one for one in self.concepts}, categories, {rule.id: rule for rule in self.rules}

    def concepts_in(self, match: Match | Companions) -> tuple[Concept, ...]:
        """The concepts that a `match` names, directly or by category, by name."""
        if not isinstance(match, Words | Companions):
            return ()
        names, categories, _ = self._by_key
        found = {name: names[name] for name in match.concepts}
        for category in match.categories:
            found.update((concept.name, concept) for concept in categories[category])
        return _by_name(tuple(found.values()))

    def concepts_of(self, rule: BaseRule) -> tuple[Concept, ...]:
        """The concepts that a rule names, directly or by category, by name."""
        return self.concepts_in(rule.match)

    @cached_property
    def rules_of_every_prompt(self) -> tuple[BaseRule, ...]:
        """The rules that need no words: `match: any`, and erase rules of scope `always`."""
        return tuple(
            rule
            for rule in self.rules
            if rule.match == "any" or (isinstance(rule, EraseRule) and rule.scope == "always")
        )

    @cached_property
    def triggers(self) -> PhraseIndex[Trigger]:
        """All words that rules and exceptions look for, ready to be found in prompts."""
        return PhraseIndex((trigger.phrase, trigger) for trigger in self._all_triggers())

    def _all_triggers(self) -> Iterator[Trigger]:
        for rule in self.rules:
            yield from self._triggers_of(rule.id, rule.action, rule.match)
        for exception in self.exceptions:
            yield from self._triggers_of(exception.id, None, exception.match)

    def _triggers_of(self, owner: str, action: Action | None, match: Match) -> Iterator[Trigger]:
        if isinstance(match, Words):
            yield from self._triggers_in(owner, action, match)
            if match.alongside is not None:
                yield from self._triggers_in(owner, action, match.alongside, companion=True)

    def _triggers_in(
        self, owner: str, action: Action | None, words: Words | Companions, *, companion: bool = False
    ) -> Iterator[Trigger]:
        for concept in self.concepts_in(words):
            for phrase in concept.words:
                yield Trigger(owner, action, concept.name, concept.category, phrase, companion)
        for phrase in words.phrases:
            yield Trigger(owner, action, None, None, phrase, companion)

    @cached_property
    def accompanied(self) -> frozenset[str]:
        """Ids of the rules and exceptions whose words only count alongside others."""
        owners = (*self.rules, *self.exceptions)
        return frozenset(one.id for one in owners if isinstance(one.match, Words) and one.match.alongside is not None)

    def rule(self, rule_id: str) -> BaseRule:
        """The rule of that id.

        Raises:
            KeyError: there is none.
        """
        return self._by_key[2][rule_id]
