"""The things, looks and grounds that a base model's text encoder has words for, and plain text made of them.

The gate needs ordinary text for two purposes: to see a concept's phrases in context (carriers), and to know how text
reads that has nothing to do with the concept (benign prompts). Invariants: both are functions of the vocabulary and the
phrase alone; a benign prompt is nobody's data.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from safegen.errors import ModelError
from safegen.spm.names import NameIndex, compounds, plural, words

GENERAL = Path(__file__).parent / "vocabulary.yaml"
"""What a text encoder of the size of CLIP's knows: everyday things, and names of two words that hold another name."""

CARRIERS = 12
"""Texts in which a phrase is read; from 6 on the gate of the sticker base told concepts apart equally well."""

_CARRIERS = (
    "{n}",
    "a {n}",
    "a picture of {n}",
    "{t}, {n} style",
    "a {n} in the style of {s}",
    "a {t} in the style of {n}",
    "{n}, {s} style",
    "a {n} on a {b} background",
    "a {n} and a {t}",
    "a {n} {t}",
    "a {s} {n}",
    "a {t} with a {n}",
)
_BENIGN = (
    "{n}",
    "a {n}",
    "{n} in the style of {s}",
    "a picture of {n}",
    "a {s} {n}",
    "a {n} on a {b} background",
    "a {n} and a {t}",
    "{n}, {s} style",
    "a drawing of a {n}",
    "a {n} with a {t}",
    "a {n} by {s}",
    "{p}, {b} background",
)
_LOOKS = ("{s} style", "a picture in the style of {s}", "a {t}, {s} style, {b} background")


class Vocabulary(BaseModel):
    """Words that a base knows.

    Attributes:
        things: one tuple for each thing: its name and the other words for it.
        looks: styles, likewise.
        grounds: backgrounds.
        repeats: benign prompts for each word; fewer where a text encoder is slow.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    things: tuple[tuple[str, ...], ...] = Field(min_length=2)
    looks: tuple[tuple[str, ...], ...] = Field(min_length=1)
    grounds: tuple[str, ...] = Field(min_length=1)
    repeats: int = Field(default=6, ge=1)

    @property
    def digest(self) -> str:
        """`sha256:<hex>` of the content."""
        return "sha256:" + hashlib.sha256(json.dumps(self.model_dump(mode="json")).encode()).hexdigest()

    @property
    def names(self) -> tuple[str, ...]:
        """Every word for every thing, and the looks."""
        return tuple(word for group in (*self.things, *self.looks) for word in group)

    def carriers(self, phrase: str) -> tuple[str, ...]:
        """Texts that hold the phrase, as a thing and as a look, among other words."""
        source = random.Random(f"carriers of {phrase}")  # noqa: S311 - a fixed choice, nothing secret
        return tuple(self._fill(template, phrase, source) for template in _CARRIERS[:CARRIERS])

    def benign(self) -> tuple[str, ...]:
        """Ordinary prompts that name every word a few times, alone and beside others."""
        return tuple(dict.fromkeys(self._benign()))

    def _benign(self) -> Iterator[str]:
        source = random.Random("benign prompts")  # noqa: S311 - a fixed choice, nothing secret
        turn = 0
        for thing in self.things:
            for word in thing:
                for _ in range(self.repeats):
                    yield self._fill(_BENIGN[turn % len(_BENIGN)], word, source)
                    turn += 1
        for look in (word for group in self.looks for word in group):
            for template in _LOOKS * self.repeats:
                yield self._fill(template.replace("{s}", look), "", source)

    def _fill(self, template: str, phrase: str, source: random.Random) -> str:
        return template.format(
            n=phrase,
            p=plural(phrase),
            t=source.choice(source.choice(self.things)),
            s=source.choice(source.choice(self.looks)),
            b=source.choice(self.grounds),
        )

    def relatives(self, phrases: Iterable[str]) -> tuple[str, ...]:
        """The phrases, and the other words for the things that they name."""
        own = {words(phrase) for phrase in phrases}
        groups = (*self.things, *self.looks)
        others = [word for group in groups if own & {words(one) for one in group} for word in group]
        return tuple(dict.fromkeys([*phrases, *others]))

    def compounds(self, phrases: Iterable[str]) -> tuple[str, ...]:
        """Names that hold one of the phrases and mean another thing: "fire engine" for "fire"."""
        own = self.relatives(phrases)
        return compounds(own, (name for name in self.names if name not in own))

    def strangers(self, phrases: Iterable[str], prompts: Iterable[str]) -> tuple[int, ...]:
        """Numbers of the prompts that do not name the concept of these phrases, by any word."""
        index = NameIndex([(self.relatives(phrases), self.compounds(phrases))])
        return tuple(number for number, prompt in enumerate(prompts) if not index.find(prompt))


def read_vocabulary(path: Path) -> Vocabulary:
    """Read a vocabulary from a file in the format of a base's `world.yaml`.

    Raises:
        ModelError: unreadable, or not of that format.
    """
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
        named: dict[str, dict[str, Any]] = data["concepts"]
        things = [(name, *entry.get("aliases", ())) for group in named.values() for name, entry in group.items()]
        things += [(title,) for title in data.get("memorised", {})]
        looks = tuple((name, *entry.get("aliases", ())) for name, entry in data["styles"].items())
        repeats = {"repeats": data["repeats"]} if "repeats" in data else {}
        return Vocabulary(things=tuple(things), looks=looks, grounds=tuple(data["backgrounds"]), **repeats)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError, AttributeError, ValidationError) as error:
        raise ModelError(f"the base's list of words is not readable: {error}", where=str(path)) from error


@cache
def vocabulary_of(path: Path | None) -> Vocabulary:
    """The vocabulary in a file, or the general one if there is none."""
    return read_vocabulary(path or GENERAL)
