"""Where in the files of a policy stands what a finding is about.

Invariant: reads the same files as loading does, and never raises for a subject that stands nowhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from safegen.policy.analysis import Finding
from safegen.policy.diagnostics import Diagnostic
from safegen.policy.document import Document, read_document
from safegen.policy.load import contents, read_file
from safegen.policy.lookups import Path as DataPath
from safegen.policy.lookups import Problem, members
from safegen.policy.overlays import Layers

_NAMED_BY = (
    ("rules", "id"),
    ("exceptions", "id"),
    ("concepts", "name"),
    ("concepts", "category"),
    ("concepts", "adapter"),
)


class Sources:
    """The files of one policy, itself first."""

    def __init__(self, path: str | Path) -> None:
        layers = Layers(read_document, read_file)
        layers.add(contents(path, "the policy"), str(path))
        self._documents = layers.documents

    def diagnose(self, finding: Finding) -> Diagnostic:
        """A finding as a diagnostic at the place of its subject; at the first line if that stands nowhere."""
        message = f"{finding.severity}: {finding.message} [{finding.code}]"
        for document in self._documents:
            for path in _places(document, finding.subject.split(" + ", maxsplit=1)[0]):
                return document.diagnose(Problem(path, message, finding.hint))
        return self._documents[0].diagnose(Problem((), message, finding.hint))


def _places(document: Document, subject: str) -> Iterator[DataPath]:
    if not isinstance(document.data, dict):
        return
    for part, key in _NAMED_BY:
        for path, entry in members(document.data, part, ()):
            if entry.get(key) == subject:
                yield (*path, key)
