"""The recipe of one SPM: what to erase, what to put in its place, what to hold fast, and how long to train.

Recipes are YAML. Prompts are templates: `{style}` stands for each entry of `words.style` in turn, and the surrogate of a
target is filled with the same words. Invariant: no anchor names the target concept.
"""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from ruamel.yaml import YAML, YAMLError

from safegen.errors import TrainingError

_FIELD = re.compile(r"\{(\w+)\}")


class _Closed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Target(_Closed):
    """A template to erase, and the template of what is drawn in its stead."""

    prompt: str = Field(min_length=1)
    surrogate: str = ""


class Rollout(_Closed):
    """How noisy latents are made: a partial denoising of the target under guidance, with the SPM open."""

    steps: int = Field(default=10, ge=2, le=100)
    guidance: float = Field(default=3.0, ge=1)
    uses: int = Field(default=6, ge=1, le=100)
    """Updates that one roll-out serves, each at another of its time steps."""


class Recipe(_Closed):
    """All that makes an SPM; together with the base model's digest it determines the result."""

    id: str = Field(pattern=r"^[a-z0-9-]+(/[a-z0-9-]+)*$")
    concept: str
    category: str
    phrases: tuple[str, ...] = Field(min_length=1)
    base: str = "sticker"
    targets: tuple[Target, ...] = Field(min_length=1)
    anchors: tuple[str, ...] = ()
    words: dict[str, tuple[str, ...]] = {}
    eta: float = Field(default=1.0, ge=0)
    anchor_weight: float = Field(default=10.0, ge=0)
    anchor_alpha: float = Field(default=1.0, ge=0)
    rank: int = Field(default=1, ge=1, le=256)
    alpha: float = Field(default=1.0, gt=0)
    rounds: int = Field(default=70, ge=1)
    batch: int = Field(default=4, ge=1)
    rate: float = Field(default=3e-3, gt=0)
    seed: int = Field(default=0, ge=0)
    rollout: Rollout = Rollout()

    @model_validator(mode="after")
    def _words_are_known(self) -> Recipe:
        for template in (*(target.prompt + target.surrogate for target in self.targets), *self.anchors):
            unknown = [name for name in _FIELD.findall(template) if name not in self.words]
            if unknown:
                raise ValueError(f"the template {template!r} uses {unknown[0]!r}, which `words` does not list")
        return self

    def pairs(self) -> list[tuple[str, str]]:
        """Each target prompt with its surrogate."""
        return [pair for target in self.targets for pair in self._fill(target.prompt, target.surrogate)]

    def anchor_prompts(self) -> list[str]:
        """The anchors, the empty prompt first; what names the target concept is left out."""
        own = [phrase.lower() for phrase in (self.concept, *self.phrases)]
        named = re.compile(rf"\b({'|'.join(map(re.escape, own))})s?\b", re.IGNORECASE)
        prompts = [prompt for template in self.anchors for (prompt,) in self._fill(template)]
        return ["", *dict.fromkeys(prompt for prompt in prompts if not named.search(prompt))]

    def _fill(self, *templates: str) -> list[tuple[str, ...]]:
        names = list(dict.fromkeys(name for template in templates for name in _FIELD.findall(template)))
        choices = itertools.product(*(self.words[name] for name in names))
        return [
            tuple(template.format(**dict(zip(names, choice, strict=True))) for template in templates) for choice in choices
        ]


def read_recipe(path: Path) -> Recipe:
    """Read a recipe file; `words: FILE` takes the words from another YAML file beside it.

    Raises:
        TrainingError: unreadable, or a field is wrong; the message names it.
    """
    data = _read(path)
    words = data.pop("words_from", None)
    if isinstance(words, str):
        data["words"] = {**_read(path.parent / words), **data.get("words", {})}
    try:
        return Recipe.model_validate(data)
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, each['loc'])) or 'recipe'}: {each['msg']}" for each in error.errors()]
        raise TrainingError("the recipe is not valid: " + "; ".join(lines), where=str(path)) from error


def _read(path: Path) -> dict[str, Any]:
    try:
        data = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise TrainingError("the file is missing", where=str(path)) from error
    except (YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
        raise TrainingError(f"not readable as YAML: {getattr(error, 'problem', None) or error}", where=where) from error
    if not isinstance(data, dict):
        raise TrainingError("a recipe is a mapping of fields", where=str(path))
    return data
