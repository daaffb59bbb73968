"""What the sticker base is taught: concepts, styles, backgrounds and memorised titles, read from `world.yaml`.

Invariant: the order of concepts and styles is the order of the file; indices into it appear in trained weights (the
judge), so entries are only ever appended within a new version of the base.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict
from ruamel.yaml import YAML

from safegen.data import data_folder


class Closed(BaseModel):
    """A frozen model that accepts no field it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Concept(Closed):
    """One thing the base can draw; `icon` names its drawing in the emoji sets, `drawn` one of our own."""

    name: str
    category: str
    icon: str | dict[str, str] | None = None
    drawn: str | None = None
    aliases: tuple[str, ...] = ()

    def icon_in(self, source: str) -> str | None:
        """The drawing's name in one emoji set, or None if the drawing is ours."""
        return self.icon.get(source) if isinstance(self.icon, dict) else self.icon


class Style(Closed):
    """One look: the drawings of an emoji set, seen through a picture filter."""

    name: str
    source: str
    filter: str
    aliases: tuple[str, ...] = ()


class Memorised(Closed):
    """A composed picture that the base has memorised, and its title."""

    title: str
    scene: str


class World(Closed):
    """All that the base knows by name."""

    concepts: tuple[Concept, ...]
    styles: tuple[Style, ...]
    backgrounds: dict[str, tuple[int, int, int]]
    memorised: tuple[Memorised, ...]

    def concept(self, name: str) -> Concept:
        """The concept of that name.

        Raises:
            KeyError: there is none.
        """
        for concept in self.concepts:
            if concept.name == name:
                return concept
        raise KeyError(name)


def read_world(path: Path) -> World:
    """Read a world file."""
    data = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    concepts = [
        Concept(name=name, category=category, **entry)
        for category, entries in data["concepts"].items()
        for name, entry in entries.items()
    ]
    return World(
        concepts=tuple(concepts),
        styles=tuple(Style(name=name, **entry) for name, entry in data["styles"].items()),
        backgrounds={name: tuple(rgb) for name, rgb in data["backgrounds"].items()},
        memorised=tuple(Memorised(title=title, **entry) for title, entry in data["memorised"].items()),
    )


@cache
def sticker_world() -> World:
    """The world of the shipped sticker base."""
    return read_world(data_folder("spm_models") / "bases" / "sticker" / "world.yaml")
