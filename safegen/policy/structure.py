"""What a stream of YAML events must not contain: depth, aliases, documents and directives beyond the limits.

Invariant: looking costs neither depth nor memory, so nothing is built from what is refused.
"""

from __future__ import annotations

from yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    CollectionStartEvent,
    DocumentStartEvent,
    Event,
    ScalarEvent,
)

DEEPEST_NESTING = 16
MOST_ALIASES = 64


class Structure:
    """What has been seen of a stream so far."""

    def __init__(self) -> None:
        self._depth = self._aliases = self._documents = 0
        self._anchors: set[str] = set()

    def problem(self, event: Event) -> str:
        """Take in the next event; what is wrong with it, or nothing."""
        if type(event) is ScalarEvent:
            return self._anchor_problem(event) if event.anchor else ""
        if isinstance(event, CollectionStartEvent):
            self._depth += 1
            if self._depth > DEEPEST_NESTING:
                return f"nested more than {DEEPEST_NESTING} levels deep"
            return self._anchor_problem(event) if event.anchor else ""
        if isinstance(event, CollectionEndEvent):
            self._depth -= 1
        elif isinstance(event, AliasEvent):
            self._aliases += 1
            return f"more than {MOST_ALIASES} aliases" if self._aliases > MOST_ALIASES else ""
        elif isinstance(event, DocumentStartEvent):
            return self._document_problem(event)
        return ""

    def _document_problem(self, event: DocumentStartEvent) -> str:
        self._documents += 1
        if event.version or event.tags:
            return "YAML directives are not supported"
        return "more than one document in the file" if self._documents > 1 else ""

    def _anchor_problem(self, event: ScalarEvent | CollectionStartEvent) -> str:
        if event.anchor in self._anchors:
            return f"anchor `{event.anchor}` is defined twice"
        self._anchors.add(event.anchor)
        return ""
