"""YAML text read into plain data, with the place of every key and value.

Invariants: whatever the text, the answer is a `Document` or a `DiagnosedSyntaxError`; size, depth, aliases and the
number of expanded nodes are bounded before anything is built from them; no tag ever constructs an object.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeAlias

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    CollectionStartEvent,
    DocumentStartEvent,
    Event,
    ScalarEvent,
)
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from safegen.policy.checks import Path, Problem
from safegen.policy.diagnostics import DiagnosedSyntaxError, Diagnostic

LARGEST_FILE = 1 << 20
DEEPEST_NESTING = 16
MOST_ALIASES = 64
MOST_NODES = 50_000
LONGEST_NUMBER = 40
"""In characters; what is longer is left as text, which no number field accepts."""

_LINE_END = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
_FORBIDDEN = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_CORE = "tag:yaml.org,2002:"
_NULL, _TEXT_TAGS = f"{_CORE}null", (f"{_CORE}str", f"{_CORE}timestamp")
_NUMBERS: dict[str, Callable[[str], object]] = {
    f"{_CORE}bool": lambda text: {"true": True, "false": False}[text.casefold()],
    f"{_CORE}int": lambda text: int(
        text.replace("_", ""), 0 if text.lstrip("+-").startswith(("0x", "0o", "0b")) else 10
    ),
    f"{_CORE}float": lambda text: float(text.replace("_", "").replace(".inf", "inf").replace(".nan", "nan")),
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands: line and column from 0, and how many characters of that line it covers."""

    line: int
    column: int
    width: int = 1


Places: TypeAlias = dict[Path, Place]


@dataclass(slots=True)
class Document:
    """Plain data, where each part of it stands, and what was odd about the text."""

    source: str
    lines: list[str]
    data: object = None
    values: Places = field(default_factory=dict)
    keys: Places = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def diagnose(self, problem: Problem) -> Diagnostic:
        """Give a problem its place: that of its path, or of the nearest part around it that exists."""
        places, path = (self.keys if problem.on_key else self.values), problem.path
        while path not in places and path:
            places, path = self.values, path[:-1]
        return self.diagnostic(places.get(path, Place(0, 0)), problem.message, problem.hint)

    def diagnostic(self, place: Place, message: str, hint: str = "") -> Diagnostic:
        """A diagnostic at a place."""
        line = self.lines[place.line] if place.line < len(self.lines) else ""
        return Diagnostic(self.source, place.line + 1, place.column + 1, message, hint, line, place.width)


def read_document(text: str | bytes, source: str) -> Document:
    """Read YAML text.

    Raises:
        DiagnosedSyntaxError: it is no YAML, or no YAML that a policy may be made of.
    """
    readable = _decode(text, source).removeprefix("\ufeff")
    document = Document(source, _LINE_END.split(readable))
    _check_characters(document, readable)
    _check_structure(document, readable)
    root = _compose(document, readable)
    if root is None:
        _reject(document, Place(0, 0), "the file is empty", "start from `policies/default.yaml`")
    document.data = _Builder(document).build(root, ())
    return document


def _decode(text: str | bytes, source: str) -> str:
    if len(text) > LARGEST_FILE:
        _reject(Document(source, []), Place(0, 0), f"the file is larger than {LARGEST_FILE} bytes", "split the policy")
    if isinstance(text, str):
        return text
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError as error:
        lines = _LINE_END.split(text[: error.start].decode("utf-8"))
        message = f"byte 0x{text[error.start]:02x} is not UTF-8"
        _reject(Document(source, []), Place(len(lines) - 1, len(lines[-1])), message, "save it as UTF-8", error)


def _check_characters(document: Document, text: str) -> None:
    found = _FORBIDDEN.search(text)
    if found:
        lines = _LINE_END.split(text[: found.start()])
        message = f"character U+{ord(found[0]):04X} is not allowed"
        _reject(document, Place(len(lines) - 1, len(lines[-1])), message, "remove it")


def _check_structure(document: Document, text: str) -> None:
    """Look through the stream of events, which costs no depth and no memory, for what must not be built."""
    depth = aliases = documents = 0
    anchors: set[str] = set()
    for event in _events(document, text):
        depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
        aliases += isinstance(event, AliasEvent)
        documents += isinstance(event, DocumentStartEvent)
        message = ""
        if depth > DEEPEST_NESTING:
            message = f"nested more than {DEEPEST_NESTING} levels deep"
        elif aliases > MOST_ALIASES:
            message = f"more than {MOST_ALIASES} aliases"
        elif documents > 1:
            message = "more than one document in the file"
        elif isinstance(event, DocumentStartEvent) and (event.version or event.tags):
            message = "YAML directives are not supported"
        elif isinstance(event, CollectionStartEvent | ScalarEvent) and event.anchor:
            message = f"anchor `{event.anchor}` is defined twice" if event.anchor in anchors else ""
            anchors.add(event.anchor)
        if message:
            _reject(document, _place(event), message)


def _events(document: Document, text: str) -> Iterator[Event]:
    with _parser_faults(document):
        yield from YAML(typ="rt", pure=True).parse(text)


def _compose(document: Document, text: str) -> Node | None:
    with _parser_faults(document):
        node: Node | None = YAML(typ="rt", pure=True).compose(text)
        return node


@contextmanager
def _parser_faults(document: Document) -> Iterator[None]:
    """Turn whatever the YAML parser raises into a diagnostic."""
    try:
        yield
    except MarkedYAMLError as error:
        _reject_marked(document, error)
    except Exception as error:  # noqa: BLE001 - a parser that trips over hostile text must not take the caller with it
        _reject(document, Place(0, 0), f"not YAML: {error}", cause=error)


def _place(marked: Any) -> Place:
    """The place of a node or an event; of something that spans several lines, only its beginning."""
    start, end = marked.start_mark, marked.end_mark
    width = end.column - start.column if end is not None and end.line == start.line else 1
    return Place(start.line, start.column, max(1, width))


def _reject_marked(document: Document, error: MarkedYAMLError) -> NoReturn:
    mark = error.problem_mark or error.context_mark
    if mark is not None and error.context_mark is not None and mark.line >= len(document.lines) - 1:
        mark = error.context_mark  # what was never closed is best shown where it began
    place = Place(0, 0) if mark is None else Place(mark.line, mark.column)
    problem = " ".join(part for part in (error.context, error.problem) if part)
    line = document.lines[place.line] if place.line < len(document.lines) else ""
    hint = "indent with spaces, not with tabs" if "\t" in line else ""
    _reject(document, place, f"not YAML: {problem}", hint, error)


def _reject(
    document: Document, place: Place, message: str, hint: str = "", cause: BaseException | None = None
) -> NoReturn:
    raise DiagnosedSyntaxError([document.diagnostic(place, message, hint)]) from cause


class _Builder:
    """Turns nodes into plain data and notes places and problems in the document."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._count = 0

    def build(self, node: Node, path: Path) -> object:
        """The data of a node; `path` is where it stands in the data.

        Raises:
            DiagnosedSyntaxError: aliases blow it up beyond the limits.
        """
        self._count += 1
        if self._count > MOST_NODES or len(path) > DEEPEST_NESTING:
            _reject(self._document, _place(node), "the file expands to too much", "use fewer aliases")
        self._document.values[path] = _place(node)
        if isinstance(node, MappingNode):
            return self._mapping(node, path)
        if isinstance(node, SequenceNode):
            return [self.build(child, (*path, at)) for at, child in enumerate(node.value)]
        return self._scalar(node, path)

    def _mapping(self, node: MappingNode, path: Path) -> dict[str, object]:
        result: dict[str, object] = {}
        for key, value in node.value:
            name = key.value if isinstance(key, ScalarNode) else None
            if not isinstance(name, str):
                self._note(_place(key), path, "a field's name must be a plain word")
            elif name in result:
                first = self._document.keys[*path, name].line + 1
                self._note(_place(key), path, f"`{name}` appears twice", f"the first is in line {first}; remove one")
            else:
                self._document.keys[*path, name] = _place(key)
                result[name] = self.build(value, (*path, name))
        return result

    def _scalar(self, node: Node, path: Path) -> object:
        text, tag = str(node.value), str(node.tag)
        if tag == _NULL:
            return None
        if tag in _NUMBERS and len(text) <= LONGEST_NUMBER:
            try:
                return _NUMBERS[tag](text)
            except (ValueError, KeyError):
                return text
        if tag not in _TEXT_TAGS and tag not in _NUMBERS:
            self._note(_place(node), path, f"tag `{tag}` is not supported", "remove it")
        if _LONE_SURROGATE.search(text):
            self._note(_place(node), path, "half of a surrogate pair is not a character", "remove the escape")
        return _LONE_SURROGATE.sub("\N{REPLACEMENT CHARACTER}", text)

    def _note(self, place: Place, path: Path, message: str, hint: str = "") -> None:
        """Note a problem at a place that has no path of its own, e.g. a second key of the same name."""
        marker = (*path, f"\0{len(self._document.problems)}")
        self._document.values[marker] = place
        self._document.problems.append(Problem(marker, message, hint, semantic=False))
