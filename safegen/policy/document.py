"""YAML text read into plain data, with the place of every key and value.

Invariants: whatever the text, the answer is a `Document` or a `DiagnosedSyntaxError`; size, depth, aliases and the
number of expanded nodes are bounded before anything is built from them; no tag ever constructs an object. Places cost
time and are only worked out when there is something to report.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any, NoReturn

import yaml
from yaml.error import MarkedYAMLError
from yaml.events import Event, ScalarEvent

from safegen.policy.diagnostics import DiagnosedSyntaxError, Diagnostic
from safegen.policy.lookups import Path, Problem
from safegen.policy.nodes import Builder, Place, TooMuchError, plain_data, tree
from safegen.policy.outline import Outline
from safegen.policy.structure import Structure

LARGEST_FILE = 16 << 20

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_LINE_END = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
_FORBIDDEN = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_BREAKS_OF_OLD = re.compile("[\x85\u2028\u2029]")
"""Line breaks for YAML 1.1 and plain characters for YAML 1.2; nobody writes them on purpose."""


class Document:
    """Plain data, and what was odd about the text; the place of each part on demand."""

    def __init__(self, source: str, text: str = "") -> None:
        self.source = source
        self.data: object = None
        self.problems: list[Problem] = []
        self._text = text
        self._noted: dict[Path, Place] = {}
        self._lines: list[str] | None = None

    @property
    def lines(self) -> list[str]:
        """The lines of the text."""
        if self._lines is None:
            self._lines = _LINE_END.split(self._text)
        return self._lines

    @cached_property
    def _outline(self) -> Outline:
        return Outline(_parsed(self._text))

    def read(self) -> None:
        """Build the data from the text.

        Raises:
            DiagnosedSyntaxError: the text cannot be made into a policy.
        """
        with self._parser_faults():
            plain = plain_data(self._events())
            if plain is not None:
                self.data = plain[0]
                return
            root = tree(self._events())
            if root is None:
                self.reject(Place(0, 0), "the file is empty", "start from `policies/default.yaml`")
            builder = Builder(root)
        self.data, self.problems = builder.data, builder.problems
        self._noted = builder.noted

    def diagnose(self, problem: Problem) -> Diagnostic:
        """Give a problem its place: that of its path, or of the nearest part around it that exists."""
        place = self._noted.get(problem.path) or self._outline.place(problem.path, on_key=problem.on_key)
        return self.diagnostic(place, problem.message, problem.hint)

    def diagnostic(self, place: Place, message: str, hint: str = "") -> Diagnostic:
        """A diagnostic at a place."""
        line = self.lines[place.line] if place.line < len(self.lines) else ""
        return Diagnostic(self.source, place.line + 1, place.column + 1, message, hint, line, place.width)

    def reject(self, place: Place, message: str, hint: str = "", cause: BaseException | None = None) -> NoReturn:
        """Give up on the text.

        Raises:
            DiagnosedSyntaxError: always.
        """
        raise DiagnosedSyntaxError([self.diagnostic(place, message, hint)]) from cause

    def _events(self) -> Iterator[Event]:
        """The events of the text, stopped at the first that must not be built from."""
        seen = Structure()
        for event in _parsed(self._text):
            if type(event) is ScalarEvent and event.anchor is None:
                yield event
                continue
            message = seen.problem(event)
            if message:
                self.reject(Place.of(event), message)
            yield event

    @contextmanager
    def _parser_faults(self) -> Iterator[None]:
        """Turn whatever the YAML parser raises into a diagnostic."""
        try:
            yield
        except DiagnosedSyntaxError:
            raise
        except MarkedYAMLError as error:
            self._reject_marked(error)
        except TooMuchError as error:
            self.reject(error.place, error.message, error.hint)
        except Exception as error:  # noqa: BLE001 - a parser that trips over hostile text must not take the caller along
            self.reject(Place(0, 0), f"not YAML: {error}", cause=error)

    def _reject_marked(self, error: MarkedYAMLError) -> NoReturn:
        mark = error.problem_mark or error.context_mark
        if mark is not None and error.context_mark is not None and mark.line >= len(self.lines) - 1:
            mark = error.context_mark  # what was never closed is best shown where it began
        place = Place(0, 0) if mark is None else Place(mark.line, mark.column)
        problem = " ".join(part for part in (error.context, error.problem) if part)
        line = self.lines[place.line] if place.line < len(self.lines) else ""
        hint = "indent with spaces, not with tabs" if "\t" in line else ""
        self.reject(place, f"not YAML: {problem}", hint, error)


def _parsed(text: str) -> Iterator[Event]:
    """The events of a text, as the parser gives them."""
    loader = _LOADER(text)
    try:
        yield from iter(loader.get_event, None)
    finally:
        loader.dispose()


def read_document(text: str | bytes, source: str) -> Document:
    """Read YAML text.

    Raises:
        DiagnosedSyntaxError: it is no YAML, or no YAML that a policy may be made of.
    """
    readable = _decode(text, source).removeprefix("\ufeff")
    document = Document(source, readable)
    _check_characters(document, readable)
    document.read()
    return document


def _decode(text: str | bytes, source: str) -> str:
    if len(text) > LARGEST_FILE:
        hint = "split the policy"
        Document(source).reject(Place(0, 0), f"the file is larger than {LARGEST_FILE} bytes", hint)
    if isinstance(text, str):
        return text
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError as error:
        lines = _LINE_END.split(text[: error.start].decode("utf-8"))
        message = f"byte 0x{text[error.start]:02x} is not UTF-8"
        Document(source).reject(Place(len(lines) - 1, len(lines[-1])), message, "save it as UTF-8", error)


def _check_characters(document: Document, text: str) -> None:
    found = _FORBIDDEN.search(text) or (None if text.isascii() else _BREAKS_OF_OLD.search(text))
    if found:
        lines = _LINE_END.split(text[: found.start()])
        message = f"character U+{ord(found[0]):04X} is not allowed"
        document.reject(Place(len(lines) - 1, len(lines[-1])), message, "remove it")
