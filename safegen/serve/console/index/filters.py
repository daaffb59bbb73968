"""What a user asks for: chosen terms, a range of days, and free text, to and from a query string.

Invariants: every filter has one query string, which reads back as the same filter; a parameter that is none is an
error, never passed over, so that nobody takes an unfiltered list for a filtered one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from urllib.parse import urlencode

from safegen.errors import ConsoleRequestError
from safegen.serve.console.index.terms import FACETS, PLOTTED

KINDS = (*FACETS, *PLOTTED)
_LONGEST = 1000
_MOST_VALUES = 64


@dataclass(frozen=True)
class Filter:
    """Items that bear, for each kind, one of the names chosen, in a range of days, and that hold a text."""

    chosen: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    start: str = ""
    stop: str = ""
    text: str = ""

    @classmethod
    def parse(cls, pairs: Iterable[tuple[str, str]]) -> Filter:
        """Read the parameters of a query string; empty ones do not count.

        Raises:
            ConsoleRequestError: if one is unknown, too long, or no date.
        """
        chosen: dict[str, list[str]] = {}
        single = {"from": "", "to": "", "q": ""}
        for name, value in pairs:
            if len(value) > _LONGEST:
                raise ConsoleRequestError(f"the value of {name!r} is too long", hint=f"at most {_LONGEST} characters")
            if not value.strip():
                continue
            if name in single:
                single[name] = value.strip()
            elif name not in KINDS:
                raise ConsoleRequestError(f"there is no filter {name!r}", hint=f"filters: {', '.join(KINDS)}")
            elif value not in chosen.setdefault(name, []):
                chosen[name].append(value)
        if sum(map(len, chosen.values())) > _MOST_VALUES:
            raise ConsoleRequestError("too many filters at once", hint=f"at most {_MOST_VALUES}")
        ordered = {kind: tuple(sorted(chosen[kind])) for kind in KINDS if kind in chosen}
        return cls(ordered, _day(single["from"]), _day(single["to"]), single["q"])

    @property
    def is_empty(self) -> bool:
        """Whether it lets everything through."""
        return not (self.chosen or self.start or self.stop or self.text)

    def pairs(self) -> list[tuple[str, str]]:
        """As parameters of a query string."""
        found = [(kind, name) for kind, names in self.chosen.items() for name in names]
        single = (("from", self.start), ("to", self.stop), ("q", self.text))
        return found + [(name, value) for name, value in single if value]

    def query(self, **more: object) -> str:
        """As a query string, with further parameters that are not part of the filter."""
        return urlencode([*self.pairs(), *((name, str(value)) for name, value in more.items() if value is not None)])

    def has(self, kind: str, name: str) -> bool:
        """Whether the term is chosen."""
        return name in self.chosen.get(kind, ())

    def toggled(self, kind: str, name: str) -> Filter:
        """With the term chosen if it was not, and without it if it was."""
        if self.has(kind, name):
            return self._with(kind, tuple(each for each in self.chosen[kind] if each != name))
        return self._with(kind, tuple(sorted({*self.chosen.get(kind, ()), name})))

    def only(self, kind: str, *names: str) -> Filter:
        """With these and no other names of the kind."""
        return self._with(kind, tuple(sorted(names)))

    def within(self, start: str, stop: str) -> Filter:
        """In another range of days."""
        return replace(self, start=start, stop=stop)

    def _with(self, kind: str, names: tuple[str, ...]) -> Filter:
        changed = {**self.chosen, kind: names}
        return replace(self, chosen={each: changed[each] for each in KINDS if changed.get(each)})


def _day(text: str) -> str:
    if not text:
        return ""
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError as error:
        raise ConsoleRequestError(f"{text!r} is no date", hint="write it as 2026-05-31") from error
