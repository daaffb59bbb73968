"""The recipe of one SPM: what to erase, what to put in its place, what to hold fast, and how long to train.

Recipes are YAML. Prompts are templates: `{style}` stands for each entry of `words.style` in turn, `{phrase}` for each
of the recipe's phrases, and a target's surrogate is filled with the same words as the target. Invariants: no anchor
and no surrogate names the target concept; no target is its own surrogate; every error names the file, the line and
the field.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterator

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_Problem = tuple[tuple[str | int, ...], str]


class _Closed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Target(_Closed):
    """A template to erase, and the template of what is drawn in its stead; bare text is a target without the second.

    Attributes:
        prompt: names the concept.
        surrogate: with no other placeholders than the prompt's; None takes the recipe's own surrogate.
    """

    prompt: str = Field(min_length=1)
    surrogate: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: object) -> object:
        return {"prompt": value} if isinstance(value, str) else value


class Rollout(_Closed):
    """How noisy latents are made: a partial denoising of the target under guidance, with the SPM open.

    Attributes:
        steps: denoising steps of a whole roll-out.
        guidance: scale of classifier-free guidance.
        uses: updates that one roll-out serves, each at another of its time steps.
    """

    steps: int = Field(default=10, ge=1, le=1000)
    guidance: float = Field(default=3.0, ge=0)
    uses: int = Field(default=6, ge=1)

    @model_validator(mode="after")
    def _uses_are_distinct(self) -> Rollout:
        if self.uses > self.steps:
            raise _invalid([(("uses",), f"a roll-out of {self.steps} steps cannot serve {self.uses} updates")])
        return self


class Recipe(_Closed):
    """All that makes an SPM; together with the base model's digest it determines the trained values.

    Attributes:
        id: name of the SPM, e.g. `sticker/cat`.
        concept: what is erased.
        category: its kind, as policies name it.
        phrases: the words that name the concept; the gate reads them.
        base: id of the base model in the registry.
        targets: what to erase.
        surrogate: template for the targets that state none of their own; empty for the empty prompt.
        anchors: templates of what must stay; what names the concept is left out by itself.
        anchor_empty: whether a quarter of the anchors is the empty prompt.
        words: lists that placeholders stand for.
        eta: how far to push beyond the surrogate, away from the target (Eq. 4).
        anchor_weight: lambda, the weight of Latent Anchoring (Eq. 8).
        anchor_alpha: how strongly anchors unlike the target are preferred (Eq. 6); 0 for not at all.
        rank: rank of each membrane.
        alpha: scale numerator of each membrane.
        steps: updates.
        batch: targets, and anchors, in one update.
        rate: peak learning rate.
        seed: of all randomness.
        rollout: how noisy latents are made.
    """

    id: str = Field(pattern=r"^[a-z0-9-]+(/[a-z0-9-]+)*$")
    concept: str = Field(min_length=1)
    category: str = Field(min_length=1)
    phrases: tuple[str, ...] = Field(min_length=1)
    base: str = "sticker"
    targets: tuple[Target, ...] = Field(min_length=1)
    surrogate: str = ""
    anchors: tuple[str, ...] = ()
    anchor_empty: bool = True
    words: dict[str, tuple[str, ...]] = {}
    eta: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    anchor_weight: float = Field(default=10.0, ge=0, allow_inf_nan=False)
    anchor_alpha: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    rank: int = Field(default=1, ge=1, le=256)
    alpha: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    steps: int = Field(default=390, ge=1)
    batch: int = Field(default=4, ge=1)
    rate: float = Field(default=3e-3, gt=0, allow_inf_nan=False)
    seed: int = Field(default=0, ge=0)
    rollout: Rollout = Rollout()

    @model_validator(mode="after")
    def _makes_sense(self) -> Recipe:
        problems = list(self._template_problems()) or list(self._prompt_problems())
        if problems:
            raise _invalid(problems)
        return self

    @property
    def digest(self) -> str:
        """`sha256:<hex>` over all fields."""
        return f"sha256:{hashlib.sha256(self.model_dump_json().encode()).hexdigest()}"

    def pairs(self) -> list[tuple[str, str]]:
        """Each target prompt with its surrogate."""
        return [pair for number in range(len(self.targets)) for pair in self._pairs_of(number)]

    def anchor_prompts(self) -> list[str]:
        """The anchors without the empty prompt, each once; what names the concept is left out."""
        prompts = [prompt for template in self.anchors for (prompt,) in self._filled(template)]
        return [prompt for prompt in dict.fromkeys(prompts) if not self.names_concept(prompt)]

    def names_concept(self, prompt: str) -> bool:
        """Whether the prompt holds the concept or one of its phrases, in the singular or the plural."""
        names = "|".join(re.escape(name) for name in (self.concept, *self.phrases))
        return re.search(rf"\b(?:{names})(?:e?s)?\b", prompt, re.IGNORECASE) is not None

    def _surrogate_of(self, number: int) -> str:
        own = self.targets[number].surrogate
        return self.surrogate if own is None else own

    def _pairs_of(self, number: int) -> list[tuple[str, str]]:
        return [(pair[0], pair[1]) for pair in self._filled(self.targets[number].prompt, self._surrogate_of(number))]

    def _words(self) -> dict[str, tuple[str, ...]]:
        return {**self.words, "phrase": self.phrases}

    def _filled(self, *templates: str) -> list[tuple[str, ...]]:
        words = self._words()
        names = list(dict.fromkeys(name for template in templates for name in _PLACEHOLDER.findall(template)))
        choices = [
            dict(zip(names, choice, strict=True)) for choice in itertools.product(*(words[name] for name in names))
        ]
        return [tuple(_fill(template, choice) for template in templates) for choice in choices]

    def _template_problems(self) -> Iterator[_Problem]:
        for number, target in enumerate(self.targets):
            yield from self._placeholder_problems(("targets", number), target.prompt)
            for name in _PLACEHOLDER.findall(self._surrogate_of(number)):
                if name not in _PLACEHOLDER.findall(target.prompt):
                    yield ("targets", number), f"the surrogate uses {{{name}}}, which the prompt does not"
        for number, anchor in enumerate(self.anchors):
            yield from self._placeholder_problems(("anchors", number), anchor)

    def _placeholder_problems(self, place: tuple[str | int, ...], template: str) -> Iterator[_Problem]:
        for name in _PLACEHOLDER.findall(template):
            if not self._words().get(name):
                known = ", ".join(sorted(self._words()))
                yield place, f"{{{name}}} stands for nothing: `words` lists only {known}"

    def _prompt_problems(self) -> Iterator[_Problem]:
        for number in range(len(self.targets)):
            for prompt, surrogate in self._pairs_of(number):
                if prompt == surrogate or self.names_concept(surrogate):
                    yield ("targets", number), f"the surrogate {surrogate!r} of {prompt!r} names the concept itself"
                    break
        if self.anchor_weight and not self.anchor_empty and not self.anchor_prompts():
            yield ("anchors",), "there is no anchor; list some, set anchor_empty, or set anchor_weight to 0"


def _fill(template: str, choice: dict[str, str]) -> str:
    return _PLACEHOLDER.sub(lambda match: choice[match[1]], template)


def _invalid(problems: list[_Problem]) -> ValidationError:
    details = [
        # The message goes in as a parameter, since braces in a message would be read as parameters.
        InitErrorDetails(type=PydanticCustomError("recipe", "{text}", {"text": text}), loc=place, input=None)
        for place, text in problems
    ]
    return ValidationError.from_exception_data("Recipe", details)
