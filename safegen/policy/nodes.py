"""The events of a YAML parser as a tree, and the tree as plain data, with or without the place of each part.

Invariants: the number of nodes is bounded, aliases counted as often as they are used; both ways of building give the
same data; nothing has a place before it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from yaml.events import AliasEvent, Event, MappingEndEvent, MappingStartEvent, ScalarEvent, SequenceEndEvent
from yaml.events import SequenceStartEvent as ListStartEvent

from safegen.policy.lookups import Path, Problem
from safegen.policy.scalars import RESOLVED_STARTS, is_text, resolve, scalar

MOST_NODES = 300_000
"""Values of a file: more than twice those of a hundred thousand phrases in ten thousand rules."""
MOST_EXPANDED = 50_000
"""Nodes in all when aliases are used; without aliases nothing expands."""
MOST_NOTED = 500
"""Oddities of one file that are listed; who has more has made the same mistake a thousand times."""

_AT_ONCE = 1000
"""Events that are taken in before anybody looks again."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands: line and column from 0, and how many characters of that line it covers."""

    line: int
    column: int
    width: int = 1

    @staticmethod
    def of(first: Any, last: Any = None) -> Place:
        """The place of what one or two events span; if that is several lines, only its beginning."""
        start, end = first.start_mark, (last or first).end_mark
        width = end.column - start.column if end is not None and end.line == start.line else 1
        return Place(start.line, start.column, max(1, width))


class TooMuchError(Exception):
    """The text stands for more than may be built, or for something endless."""

    def __init__(self, place: Place, message: str = "the file expands to too much") -> None:
        super().__init__(message)
        self.place, self.message = place, message
        self.hint = "use fewer aliases" if "expands" in message else "split the policy" if "holds" in message else ""


class Node:
    """A scalar (`children` is None), a list, or a mapping (keys and values in turn)."""

    __slots__ = ("children", "end", "event", "mapping", "open", "size")

    def __init__(self, event: Any, children: list[Node] | None = None, *, mapping: bool = False) -> None:
        self.event = self.end = event
        self.children = children
        self.mapping = mapping
        self.open = children is not None
        self.size = 1

    @property
    def place(self) -> Place:
        """Where it begins."""
        return Place.of(self.event, self.end)

    @property
    def name(self) -> str | None:
        """What a key calls its field; None if it is no plain word."""
        name = getattr(self.event, "value", None)
        return name if isinstance(name, str) and self.event.tag is None else None

    def pairs(self) -> Iterator[tuple[Node, Node]]:
        """The keys and values of a mapping."""
        children = self.children or []
        return zip(children[::2], children[1::2], strict=True)


class Growth:
    """The tree of a document's events as far as it has been read, aliases pointing at the nodes that they name.

    Attributes:
        root: the document's node; None as long as there is none.
        line: the last line, from 0, that an event reached.
    """

    def __init__(self, events: Iterable[Event]) -> None:
        self.root: Node | None = None
        self.line = 0
        self._events = iter(events)
        self._stack: list[Node] = []
        self._anchors: dict[str, Node] = {}

    def more(self) -> bool:
        """Take in some more events; False if there were none left.

        Raises:
            TooMuchError: there are more nodes than allowed, or an alias inside what it names, or of nothing.
        """
        event: Any = None
        for event in islice(self._events, _AT_ONCE):
            kind = type(event)
            if kind is ScalarEvent:
                self._take(event, Node(event))
            elif kind is MappingStartEvent or kind is ListStartEvent:
                node = Node(event, [], mapping=kind is MappingStartEvent)
                self._take(event, node)
                self._stack.append(node)
            elif kind is MappingEndEvent or kind is SequenceEndEvent:
                self._stack[-1].end = event
                _close(self._stack.pop(), self._stack, aliased=bool(self._anchors))
            elif kind is AliasEvent:
                self._attach(_named(event, self._anchors))
        if event is not None:
            self.line = event.end_mark.line
        return event is not None

    def _take(self, event: Any, node: Node) -> None:
        if event.anchor:
            self._anchors[event.anchor] = node
        self._attach(node)

    def _attach(self, node: Node) -> None:
        if not self._stack:
            self.root = node
            return
        around = self._stack[-1]
        around.size += node.size
        if around.children is not None:
            around.children.append(node)


def tree(events: Iterable[Event]) -> Node | None:
    """The whole tree of a document's events; None if there is none.

    Raises:
        TooMuchError: see `Growth.more`.
    """
    growth = Growth(events)
    while growth.more():
        pass
    return growth.root


def _close(node: Node, stack: list[Node], *, aliased: bool) -> None:
    node.open = False
    if stack:
        stack[-1].size += node.size - 1
    if node.size > (MOST_EXPANDED if aliased else 2 * MOST_NODES):  # names of fields are nodes, too
        raise TooMuchError(node.place)


def _named(event: Any, anchors: dict[str, Node]) -> Node:
    node = anchors.get(event.anchor)
    if node is None:
        raise TooMuchError(Place.of(event), f"not YAML: found undefined alias {event.anchor!r}")
    if node.open:
        raise TooMuchError(Place.of(event))
    return node


def plain_data(events: Iterable[Event]) -> tuple[object] | None:  # noqa: C901, PLR0912 - one loop, for its speed
    """The data of plain text in one pass, in a tuple of its own; None if anything asks for a closer look.

    Tags, anchors, aliases, names that appear twice or are no words, and an empty text are left to `tree`.
    """
    stack: list[tuple[Any, Any]] = []
    root: list[object] = []
    into: Any = root
    name: str | None = None
    count = 0
    for event in events:
        kind = type(event)
        if kind is ScalarEvent:
            value, plain = event.value, event.implicit[0]
            if event.tag is not None or event.anchor is not None or not is_text(value):
                return None
            if type(into) is dict and name is None:
                if value in into:
                    return None
                name = value
                continue
            if plain and value[:1] in RESOLVED_STARTS:
                value = resolve(value)
        elif kind is MappingStartEvent or kind is ListStartEvent:
            if event.tag is not None or event.anchor is not None or (type(into) is dict and name is None):
                return None
            value = {} if kind is MappingStartEvent else []
        elif kind is MappingEndEvent or kind is SequenceEndEvent:
            into, name = stack.pop()
            continue
        elif kind is AliasEvent:
            return None
        else:
            continue
        count += 1
        if count > MOST_NODES:
            raise TooMuchError(Place.of(event), f"the file holds more than {MOST_NODES:,} values")
        if type(into) is dict:
            into[name], name = value, None
        else:
            into.append(value)
        if type(value) in {dict, list}:
            stack.append((into, name))
            into, name = value, None
    return (root[0],) if root else None


class Builder:
    """Turns a tree into plain data and notes problems."""

    def __init__(self, root: Node) -> None:
        self.noted: dict[Path, Place] = {}
        self.problems: list[Problem] = []
        self.data = self._build(root, ())

    def _build(self, node: Node, path: Path) -> object:
        """The data of a node; `path` is where it stands in the data."""
        build: Callable[[Node, Path], object] = self._scalar
        if node.children is not None:
            build = self._mapping if node.mapping else self._list
            if node.event.tag is not None:
                self._note(node.place, path, f"tag `{node.event.tag}` is not supported", "remove it")
        return build(node, path)

    def _list(self, node: Node, path: Path) -> list[object]:
        return [self._build(child, (*path, at)) for at, child in enumerate(node.children or ())]

    def _mapping(self, node: Node, path: Path) -> dict[str, object]:
        result: dict[str, object] = {}
        lines: dict[str, int] = {}
        for key, value in node.pairs():
            name = key.name
            if name is None:
                self._note(key.place, path, "a field's name must be a plain word")
            elif name in result:
                self._note(
                    key.place, path, f"`{name}` appears twice", f"the first is in line {lines[name]}; remove one"
                )
            else:
                lines[name] = key.event.start_mark.line + 1
                result[name] = self._build(value, (*path, name))
        return result

    def _scalar(self, node: Node, path: Path) -> object:
        value, message, hint = scalar(node.event)
        if message:
            self._note(node.place, path, message, hint)
        return value

    def _note(self, place: Place, path: Path, message: str, hint: str = "") -> None:
        """Note a problem at a place that has no path of its own, e.g. a second key of the same name."""
        if len(self.problems) >= MOST_NOTED:
            return
        marker = (*path, f"\0{len(self.problems)}")
        self.noted[marker] = place
        self.problems.append(Problem(marker, message, hint, semantic=False))
