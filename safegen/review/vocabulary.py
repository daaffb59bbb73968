"""The words that a zero-shot reviewer was made for, read from the `vocabulary.json` of its folder.

Classes of one group exclude one another: concepts, styles, and memorised titles. Titles are weighed against all
concepts too, since a few titles among themselves would claim every picture. Invariants: words are compared without
case, spare blanks and a leading article; a word with several meanings has them all.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from safegen.errors import ReviewError

GroupName = Literal["concept", "style", "memorised"]
Meaning: TypeAlias = tuple[GroupName, str]
"""A group and the name of one of its classes."""
GROUP_NAMES: tuple[GroupName, ...] = ("concept", "style", "memorised")
_FIELDS: Mapping[GroupName, str] = {"concept": "concepts", "style": "styles", "memorised": "memorised"}
_ARTICLES = ("a ", "an ", "the ")


@dataclass(frozen=True, slots=True)
class Group:
    """Classes that exclude one another.

    Attributes:
        classes: the phrases of each class, by its name.
        templates: sentences with `{}` where a phrase goes.
        own: names that a target of this group may have; the other classes only compete.
    """

    classes: Mapping[str, tuple[str, ...]]
    templates: tuple[str, ...]
    own: frozenset[str]

    def prompts(self, phrases: Sequence[str]) -> list[str]:
        """Every phrase in every template."""
        return [template.replace("{}", phrase) for phrase in phrases for template in self.templates]


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """All groups, and how sharply their classes are told apart.

    Attributes:
        groups: concept, style and memorised.
        index: what each word names, by the word as it is compared.
        temperature: what cosines are multiplied by before the softmax; None for the model's own scale.
    """

    groups: Mapping[GroupName, Group]
    index: Mapping[str, tuple[Meaning, ...]]
    temperature: float | None

    @classmethod
    def read(cls, path: Path) -> Vocabulary:
        """Read the file.

        Raises:
            ReviewError: missing, no JSON, or not of the format.
        """
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            words = {name: _classes(data.get(field, {})) for name, field in _FIELDS.items()}
            templates = {name: _templates(data["templates"], name) for name in GROUP_NAMES}
            temperature = _temperature(data.get("temperature"))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ReviewError(
                f"the vocabulary cannot be read: {type(error).__name__}: {error}",
                where=str(path),
                hint="it needs concepts, styles, memorised and templates",
            ) from error
        if not words["concept"]:
            raise ReviewError(
                "the vocabulary has no concepts", where=str(path), hint="words need others to stand beside"
            )
        rivals: dict[GroupName, dict[str, tuple[str, ...]]] = {
            **words,
            "memorised": words["concept"] | words["memorised"],
        }
        groups = {name: Group(rivals[name], templates[name], frozenset(words[name])) for name in GROUP_NAMES}
        return cls(groups, _index(groups), temperature)

    def meanings(self, target: str) -> tuple[Meaning, ...]:
        """The group and class of everything that a word names here; empty if it names nothing."""
        return self.index.get(_key(target), ())


def _index(groups: Mapping[GroupName, Group]) -> dict[str, tuple[Meaning, ...]]:
    """Everything that each word names."""
    index: dict[str, tuple[Meaning, ...]] = {}
    for group_name, group in groups.items():
        for name in group.own:
            for key in {_key(word) for word in (name, *group.classes[name])}:
                index[key] = (*index.get(key, ()), (group_name, name))
    return index


def _key(word: str) -> str:
    """A word as it is compared."""
    key = " ".join(word.casefold().split())
    for article in _ARTICLES:
        if key.startswith(article):
            return key.removeprefix(article)
    return key


def _classes(data: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """Each class with its phrases; its name stands for it if it has none."""
    for phrases in data.values():
        if isinstance(phrases, str):
            raise TypeError(f"a class needs a list of phrases, not the text {phrases!r}")
    return {str(name): tuple(map(str, phrases)) or (str(name),) for name, phrases in data.items()}


def _templates(data: Mapping[str, Any], name: GroupName) -> tuple[str, ...]:
    """The group's templates; those for concepts serve titles without templates of their own."""
    templates = tuple(data["concept"] if name == "memorised" and name not in data else data[name])
    if not templates or not all("{}" in template for template in templates):
        raise ValueError(f"every template for {name} needs a {{}}, and there must be one")
    return templates


def _temperature(value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not math.isfinite(value) or value <= 0:
        raise ValueError(f"the temperature is {value!r}; it must be a number above 0")
    return float(value)
