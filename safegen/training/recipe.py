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
from functools import cache
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_PERCENT = re.compile(r"([0-9.]+)\s*%")
_Problem = tuple[tuple[str | int, ...], str]


def _share(value: object) -> object:
    """`3 %` as 0.03; anything else as it is."""
    if isinstance(value, str) and (match := _PERCENT.fullmatch(value.strip())):
        return float(match[1]) / 100
    return value


Share = Annotated[float, BeforeValidator(_share)]
"""A number, or a text such as `3 %`."""


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


class Adversarial(_Closed):
    """Prompts that the loop finds itself, to erase what lies near the targets as well.

    Attributes:
        steps: gradient steps of one attack, each a pass forward and back.
        radius: how far the state of a token may move, as a share of its length.
        share: of the targets of an update that are attacked, rounded up.
    """

    steps: int = Field(default=3, ge=1, le=100)
    radius: Share = Field(default=0.2, gt=0, le=1)
    share: Share = Field(default=0.5, gt=0, le=1)


class Recipe(_Closed):
    """All that makes an SPM; together with the base model's digest it determines the trained values.

    Attributes:
        id: name of the SPM, e.g. `sticker/cat`.
        concept: what is erased.
        category: its kind, as policies name it.
        phrases: the words that name the concept; the gate reads them.
        method: `closed-form` solves it, `loop` trains it, `released` trains it as the method's authors' code does.
        start: where the loop begins: with membranes that change nothing, or with the solved ones.
        unless: words that hold one of the phrases and mean something else, as "hot dog" holds "dog".
        base: id of the base model in the registry.
        targets: what to erase.
        surrogate: template for the targets that state none of their own; empty for the empty prompt.
        anchors: templates of what must stay; what names the concept is left out by itself.
        anchor_empty: whether a quarter of the anchors is the empty prompt.
        words: lists that placeholders stand for.
        probes: templates of target prompts that are only measured, never trained on.
        neighbours: templates among which the nearest are looked for and measured; the anchors if there are none.
        eta: how far to push beyond the surrogate, away from the target (Eq. 4); None for the method's own, 0 in closed
            form and 1 in the loop.
        drift: how much anchors may change, as a share, e.g. `3 %`: in the closed form, which finds the anchors' weight
            for it, their keys and values; in the loop, if `anchor_weight` is `budget`, the predictions for them.
        anchor_weight: lambda, the weight of Latent Anchoring (Eq. 8), of the loop; `budget` to find it for `drift`.
        anchor_alpha: how strongly anchors unlike the target are preferred (Eq. 6); 0 for not at all.
        rank: rank of each membrane.
        alpha: scale numerator of each membrane.
        steps: updates.
        batch: targets, and anchors, in one update.
        rate: peak learning rate.
        seed: of all randomness.
        rollout: how noisy latents are made.
        adversarial: attacks on the membranes during the loop; none without.
    """

    id: str = Field(pattern=r"^[a-z0-9-]+(/[a-z0-9-]+)*$")
    concept: str = Field(min_length=1)
    category: str = Field(min_length=1)
    phrases: tuple[str, ...] = Field(min_length=1)
    unless: tuple[str, ...] = ()
    method: Literal["closed-form", "loop", "released"] = "closed-form"
    start: Literal["nothing", "closed-form"] = "nothing"
    base: str = "sticker"
    targets: tuple[Target, ...] = Field(min_length=1)
    surrogate: str = ""
    anchors: tuple[str, ...] = ()
    anchor_empty: bool = True
    words: dict[str, tuple[str, ...]] = {}
    probes: tuple[str, ...] = ()
    neighbours: tuple[str, ...] = ()
    eta: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    drift: Share = Field(default=0.03, gt=0, le=1)
    anchor_weight: Annotated[float, Field(ge=0, allow_inf_nan=False)] | Literal["budget"] = 10.0
    anchor_alpha: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    rank: int = Field(default=1, ge=1, le=256)
    alpha: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    steps: int = Field(default=390, ge=1)
    batch: int = Field(default=4, ge=1)
    rate: float = Field(default=3e-3, gt=0, allow_inf_nan=False)
    seed: int = Field(default=0, ge=0)
    rollout: Rollout = Rollout()
    adversarial: Adversarial | None = None

    @model_validator(mode="after")
    def _makes_sense(self) -> Recipe:
        problems = list(self._template_problems()) or list(self._prompt_problems())
        if problems:
            raise _invalid(problems)
        return self

    @property
    def digest(self) -> str:
        """`sha256:<hex>` over all fields that differ from their defaults."""
        return f"sha256:{hashlib.sha256(self.model_dump_json(exclude_defaults=True).encode()).hexdigest()}"

    def hardened(self) -> Recipe:
        """The same made to withstand attacks on the denoiser's text input, under an id of its own.

        Rank 4, targets pushed six times their distance beyond the surrogate, and anchors that may change by as much
        as they are: open, it lets little else through, so it is for gates that are closed for all else. Measured by
        `benchmarks/erasure.py --only attacks`.

        Raises:
            ValueError: the recipe is not for the closed form.
        """
        if self.method != "closed-form":
            raise ValueError(f"{self.id} is made by method {self.method!r}; only the closed form can be hardened")
        changes = {"rank": max(self.rank, 4), "eta": max(self.eta or 0.0, 6.0), "drift": 1.0}
        return self.model_copy(update={"id": f"{self.id}-hardened", **changes})

    def pairs(self) -> list[tuple[str, str]]:
        """Each target prompt with its surrogate."""
        return [pair for number in range(len(self.targets)) for pair in self._pairs_of(number)]

    def probe_prompts(self) -> list[str]:
        """Target prompts that are only measured, each once and none of them a target of training."""
        trained = {target for target, _ in self.pairs()}
        prompts = [prompt for template in self.probes for (prompt,) in self._filled(template)]
        return [prompt for prompt in dict.fromkeys(prompts) if prompt not in trained]

    def neighbour_prompts(self) -> list[str]:
        """Prompts among which the nearest to the target are looked for; none names the concept."""
        prompts = [prompt for template in self.neighbours or self.anchors for (prompt,) in self._filled(template)]
        return [prompt for prompt in dict.fromkeys(prompts) if not self.names_concept(prompt)]

    def vocabulary(self) -> tuple[str, ...]:
        """All anchors of the templates, with those that name the concept, so that many recipes share one list."""
        return tuple(dict.fromkeys(prompt for template in self.anchors for (prompt,) in self._filled(template)))

    def anchor_prompts(self) -> list[str]:
        """The anchors without the empty prompt, each once; what names the concept is left out."""
        return [prompt for prompt in self.vocabulary() if not self.names_concept(prompt)]

    def names_concept(self, prompt: str) -> bool:
        """Whether the prompt holds the concept or one of its phrases, in the singular or the plural."""
        if self.unless:
            prompt = _any_of(self.unless).sub("", prompt)
        return _any_of((self.concept, *self.phrases)).search(prompt) is not None

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
                if name not in _PLACEHOLDER.findall(target.prompt) and len(self._words().get(name, ())) != 1:
                    yield ("targets", number), f"the surrogate uses {{{name}}}, which the prompt does not"
        for field, templates in (
            ("anchors", self.anchors),
            ("probes", self.probes),
            ("neighbours", self.neighbours),
        ):
            for number, template in enumerate(templates):
                yield from self._placeholder_problems((field, number), template)

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


@cache
def _any_of(names: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(rf"\b(?:{'|'.join(map(re.escape, names))})(?:e?s)?\b", re.IGNORECASE)


def _fill(template: str, choice: dict[str, str]) -> str:
    return _PLACEHOLDER.sub(lambda match: choice[match[1]], template)


def _invalid(problems: list[_Problem]) -> ValidationError:
    details = [
        # The message goes in as a parameter, since braces in a message would be read as parameters.
        InitErrorDetails(type=PydanticCustomError("recipe", "{text}", {"text": text}), loc=place, input=None)
        for place, text in problems
    ]
    return ValidationError.from_exception_data("Recipe", details)
