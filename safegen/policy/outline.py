"""The place of any part of a YAML text.

Invariant: no more of the text is read than is needed for the parts that were asked for, and none of it twice.
"""

from __future__ import annotations

from collections.abc import Iterable

from yaml.events import Event

from safegen.policy.lookups import Path
from safegen.policy.nodes import Growth, Node, Place


class Outline:
    """The places of a text's parts, each worked out when it is asked for."""

    def __init__(self, events: Iterable[Event]) -> None:
        self._growth = Growth(events)
        self._fields: dict[int, tuple[int, dict[str, tuple[Node, Node]]]] = {}

    def place(self, path: Path, *, on_key: bool) -> Place:
        """The place of a part or of its name; of what is not there, that of the nearest part around it."""
        while self._growth.root is None and self._growth.more():
            pass
        if self._growth.root is None:
            return Place(0, 0)
        around = node = self._growth.root
        key: Node | None = None
        for part in path:
            found = self._child(node, part)
            if found is None:
                return self._place(node)
            around, (key, node) = node, found
        if not on_key or not path:
            return self._place(node)
        return self._place(around if key is None else key)

    def _place(self, node: Node) -> Place:
        """The place of a node, whose width matters only if it ends on the line that it begins on."""
        while node.open and self._growth.line <= node.event.start_mark.line and self._growth.more():
            pass
        return node.place

    def _child(self, node: Node, part: str | int) -> tuple[Node | None, Node] | None:
        """The key, if any, and the value of a part of a node."""
        if node.children is None or isinstance(part, str) != node.mapping:
            return None
        while (found := self._so_far(node, node.children, part)) is None and node.open and self._growth.more():
            pass
        return found

    def _so_far(self, node: Node, children: list[Node], part: str | int) -> tuple[Node | None, Node] | None:
        if isinstance(part, int):
            return (None, children[part]) if part < len(children) else None
        seen, fields = self._fields.get(id(node), (0, {}))
        whole = len(children) // 2 * 2
        for at in range(seen, whole, 2):
            name = children[at].name
            if name is not None:
                fields.setdefault(name, (children[at], children[at + 1]))
        self._fields[id(node)] = (whole, fields)
        return fields.get(part)
