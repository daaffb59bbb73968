"""Reading plain JSON-like data whose shape nobody has checked yet.

Invariant: never raises; what has the wrong shape is skipped.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import islice
from typing import Any, TypeAlias, TypeGuard

from safegen.policy.normalise import is_invisible, normalise

Path: TypeAlias = tuple[str | int, ...]
Fields: TypeAlias = Mapping[str, Any]
_WORD_KINDS = ("concepts", "categories", "phrases")
_KINDS_OF_WORDS = frozenset(("Lu", "Ll", "Lt", "Lo", "So"))
_MOST_LOOKED_AT = 1000
_MOST_COMPARED = 24
MOST_PROBLEMS = 500
"""Problems of one kind and file that are looked for; who has more has made the same mistake many times."""
_MOST_LISTED = 20


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong at a path inside the policy; `on_key` points at the field's name instead of its value."""

    path: Path
    message: str
    hint: str = ""
    on_key: bool = False
    semantic: bool = True


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint that names the closest known word, or lists the known ones if none is close."""
    words = list(dict.fromkeys(islice(known, _MOST_LOOKED_AT)))
    sought = word[:100].casefold()
    alike = words if len(words) <= _MOST_COMPARED else [one for one in words if _may_be_meant(one, sought)]
    close = get_close_matches(sought, alike[:_MOST_COMPARED], n=1)
    if close:
        return f"did you mean `{close[0]}`?"
    more = ", ..." if len(words) > _MOST_LISTED else ""
    return f"known: {', '.join(words[:_MOST_LISTED])}{more}" if words else ""


def _may_be_meant(known: str, word: str) -> bool:
    """Whether it is worth while to compare two words letter by letter."""
    return known[:1] == word[:1] and abs(len(known) - len(word)) <= 2  # noqa: PLR2004 - letters left out or too many


def is_fields(value: object) -> TypeGuard[Fields]:
    """Whether a value is a mapping; most are plain ones, which is answered fast."""
    return type(value) is dict or isinstance(value, Mapping)


def members(data: Fields, key: str, path: Path) -> list[tuple[Path, Fields]]:
    """The entries of a list of mappings, with their paths."""
    values = data.get(key)
    if not isinstance(values, list | tuple):
        return []
    return [((*path, key, at), value) for at, value in enumerate(values) if is_fields(value)]


def strings(data: Fields, key: str, path: Path = ()) -> list[tuple[Path, str]]:
    """The entries of a list of strings, with their paths."""
    values = data.get(key)
    if not isinstance(values, list | tuple):
        return []
    return [((*path, key, at), value) for at, value in enumerate(values) if isinstance(value, str)]


def wordless(holder: Fields, path: Path, key: str = "phrases") -> Iterator[Problem]:
    """Phrases of a list that have no word in them."""
    values = holder.get(key)
    if not isinstance(values, list | tuple):
        return
    for at, phrase in enumerate(values):
        if isinstance(phrase, str) and not (_begins_with_a_word(phrase) or normalise(phrase)):
            hint = "write a word, or remove the entry"
            yield Problem((*path, key, at), "an empty phrase matches nothing", hint)


def _begins_with_a_word(phrase: str) -> bool:
    """Whether that is so at first sight, which spares nearly every phrase a closer look."""
    first = phrase[:1]
    if first.isascii():
        return first.isalnum()
    return unicodedata.category(first) in _KINDS_OF_WORDS and not is_invisible(first)


def names_nothing(match: Fields) -> bool:
    """Whether a mapping of words holds none."""
    return all(kind not in match or match[kind] in ([], ()) for kind in _WORD_KINDS)


class Concepts:
    """The concepts of a policy, to be found by name and by category; of equal names, the first."""

    def __init__(self, data: Fields) -> None:
        self.names: dict[str, Fields] = {}
        self.categories: dict[str, list[Fields]] = {}
        self._without_adapter: dict[str, list[Fields]] = {}
        self._words: dict[str, int] = {}
        self._words_in: dict[str, int] = {}
        for _, concept in members(data, "concepts", ()):
            name, category = concept.get("name"), concept.get("category")
            if isinstance(name, str):
                self.names.setdefault(name, concept)
            words = len(strings(concept, "phrases"))
            if isinstance(name, str):
                self._words.setdefault(name, words)
            if isinstance(category, str):
                self.categories.setdefault(category, []).append(concept)
                self._words_in[category] = self._words_in.get(category, 0) + words
                if concept.get("adapter") is None:
                    self._without_adapter.setdefault(category, []).append(concept)

    def names_any(self, rule: Fields) -> bool:
        """Whether a rule names a known concept, directly or by category."""
        match = rule.get("match")
        if not isinstance(match, Mapping):
            return False
        return any(name in self.names for _, name in strings(match, "concepts")) or any(
            name in self.categories for _, name in strings(match, "categories")
        )

    def without_adapter(self, rule: Fields) -> list[Fields]:
        """The concepts that a rule names, directly or by category, and that have no adapter."""
        match = rule.get("match")
        if not isinstance(match, Mapping):
            return []
        named = [self.names[name] for _, name in strings(match, "concepts") if name in self.names]
        found = {id(one): one for one in named if one.get("adapter") is None}
        for _, category in strings(match, "categories"):
            found.update((id(one), one) for one in self._without_adapter.get(category, []))
        return list(found.values())

    def words_of(self, match: object) -> int:
        """How many phrases a `match` stands for."""
        if not isinstance(match, Mapping):
            return 0
        concepts = sum(self._words.get(name, 0) for _, name in strings(match, "concepts"))
        categories = sum(self._words_in.get(name, 0) for _, name in strings(match, "categories"))
        return concepts + categories + len(strings(match, "phrases"))
