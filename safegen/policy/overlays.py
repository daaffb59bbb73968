"""Overlays: a policy that extends others, e.g. a tenant's over a market's over the company's.

Invariants: an overlay adds concepts, words, rules and exceptions, and takes nothing away: the id of a rule means the
same rule in every layer; the order in which policies are extended does not matter; a file's `mode` holds for its own
rules; cycles end in a diagnostic.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from pydantic import TypeAdapter, ValidationError

from safegen.policy.diagnostics import DiagnosedSyntaxError, Diagnostic
from safegen.policy.document import Document
from safegen.policy.lookups import Path, Problem
from safegen.policy.parts import PolicyPath

MOST_FILES = 32
_PATH = TypeAdapter[str](PolicyPath)
Reader: TypeAlias = Callable[[str], "str | bytes"]
_LISTS = ("concepts", "rules", "exceptions")
_AGREED = {
    "base": ("the policies are for different bases", "let one of the layers name the base"),
    "records": ("the policies ask for different records", "let one of the layers state `records`"),
}
"""What layers must agree on if more than one states it: what is wrong if they don't, and what to do."""


class Layers:
    """The documents of a policy, the one that was asked for first, and their sum."""

    def __init__(self, parse: Callable[[str | bytes, str], Document], read: Reader | None) -> None:
        self.documents: list[Document] = []
        self._from_the_ground: list[Document] = []
        self.diagnostics: list[Diagnostic] = []
        self.malformed = False
        self._parse, self._read = parse, read
        self._known: set[str] = set()
        self._concepts: dict[str, int] = {}
        self._origins: dict[tuple[str, int], tuple[Document, int]] = {}

    @property
    def complete(self) -> bool:
        """Whether every document could be read, so that names can be looked up across them."""
        return not self.diagnostics and bool(self.documents)

    def add(self, text: str | bytes, source: str, above: tuple[str, ...] = ()) -> None:
        """Take in a text and what it extends; `above` are the files on the way here."""
        self._known.add(posixpath.normpath(source))
        try:
            document = self._parse(text, source)
        except DiagnosedSyntaxError as error:
            self.malformed = True
            self.diagnostics += error.diagnostics
            return
        self.documents.append(document)
        extends = document.data.get("extends") if isinstance(document.data, Mapping) else None
        entries = enumerate(extends if isinstance(extends, list) else ())
        named = [(name, at) for at, name in entries if isinstance(name, str) and _is_path(name)]
        for name, at in sorted(named)[: 2 * MOST_FILES]:
            self._follow(document, ("extends", at), name, (*above, posixpath.normpath(source)))
        self._from_the_ground.append(document)

    def _follow(self, document: Document, path: Path, name: str, above: tuple[str, ...]) -> None:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(document.source), name))
        if target in above:
            chain = " -> ".join((*above[above.index(target) :], target))
            self._reject(
                document, path, f"the policies extend one another in a circle: {chain}", "remove one `extends`"
            )
        elif target in self._known:
            return
        elif len(self._known) >= MOST_FILES:
            self._reject(document, path, f"more than {MOST_FILES} files extend one another", "merge some of them")
        elif self._read is None:
            self._reject(document, path, f"`{name}` cannot be read from here", "load the policy from a file")
        else:
            try:
                text = self._read(target)
            except (OSError, ValueError) as error:
                reason = getattr(error, "strerror", None) or str(error)
                self._known.add(target)
                self._reject(
                    document, path, f"cannot read `{name}`: {reason}", "paths count from the file's own folder"
                )
                return
            self.add(text, target, above)

    def _reject(self, document: Document, path: Path, message: str, hint: str) -> None:
        self.diagnostics.append(document.diagnose(Problem(path, message, hint)))

    def merged(self) -> Any:
        """One policy's data: that of the first document, with what the others add."""
        first = self.documents[0].data
        if not isinstance(first, Mapping) or len(self.documents) == 1:
            return first
        result: dict[str, Any] = {**first, "extends": [], "mode": "enforce"}
        for key in _LISTS:
            result[key] = [] if isinstance(first.get(key, []), list) else first[key]
        for document in self._from_the_ground:
            if isinstance(document.data, Mapping):
                self._merge(result, document, document.data)
        return result

    def _merge(self, result: dict[str, Any], document: Document, data: Mapping[str, Any]) -> None:
        for field, (message, hint) in _AGREED.items():
            stated = data.get(field)
            if stated is not None and result.setdefault(field, stated) != stated:
                self._reject(document, (field,), message, hint)
        for key in _LISTS:
            entries, into = data.get(key), result[key]
            for at, entry in enumerate(entries if isinstance(entries, list) else ()):
                name = entry.get("name") if key == "concepts" and isinstance(entry, Mapping) else None
                if isinstance(name, str) and self._adds_words(into, name, document, entry):
                    continue
                if key == "rules" and data.get("mode") == "shadow" and isinstance(entry, Mapping):
                    entry = {**entry, "mode": "shadow"}  # noqa: PLW2901 - the same rule, with its file's mode
                self._origins[key, len(into)] = (document, at)
                into.append(entry)

    def _adds_words(self, into: list[Any], name: str, document: Document, entry: Mapping[str, Any]) -> bool:
        """Give the concept that another file has under this name the entry's words; False if there is none such."""
        at = self._concepts.setdefault(name, len(into))
        return at < len(into) and self._origins["concepts", at][0] is not document and _add_words(into, at, entry)

    def diagnose(self, problem: Problem) -> Diagnostic:
        """A problem of the merged data, shown in the document that it comes from."""
        path = problem.path
        origin = self._origins.get((str(path[0]), int(path[1]))) if len(path) > 1 and path[0] in _LISTS else None
        if origin is None:
            return self.documents[0].diagnose(problem)
        document, at = origin
        moved = Problem((path[0], at, *path[2:]), problem.message, problem.hint, problem.on_key, problem.semantic)
        return document.diagnose(moved)


def _is_path(name: str) -> bool:
    """Whether the format lets a policy name this file; no other is ever opened."""
    try:
        _PATH.validate_python(name)
    except ValidationError:
        return False
    return True


def _add_words(concepts: list[Any], at: int, overlay: Mapping[str, Any]) -> bool:
    """Give a known concept an overlay's words; False if the overlay says something else about the concept."""
    known = concepts[at]
    differs = any(overlay.get(key, known.get(key)) != known.get(key) for key in ("category", "adapter", "surrogate"))
    phrases, more = known.get("phrases"), overlay.get("phrases")
    aliases, further = known.get("aliases", {}), overlay.get("aliases", {})
    if differs or not isinstance(phrases, list) or not isinstance(more, list):
        return False
    if not isinstance(aliases, Mapping) or not isinstance(further, Mapping):
        return False
    joined = {language: list(words) for language, words in aliases.items() if isinstance(words, list)}
    for language, words in further.items():
        joined[language] = [*joined.get(language, []), *(words if isinstance(words, list) else [])]
    concepts[at] = {**known, "phrases": [*phrases, *(one for one in more if one not in phrases)], "aliases": joined}
    return True
