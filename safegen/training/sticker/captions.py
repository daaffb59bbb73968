"""The language of the sticker world: captions that vary as prompts of real users do.

Invariant: a caption never names a concept or style that its picture does not show, and `caption` is a pure function of
its arguments and the random source.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from safegen.training.sticker.world import Concept, World

_UNCOUNTED = {
    "grapes",
    "cherries",
    "fries",
    "scissors",
    "swords",
    "cheese",
    "coffee",
    "beer",
    "wine",
    "corn",
    "broccoli",
}
_NAMED_ONCE = {"santa claus", "santa", "father christmas", "dracula", "zibbo", "mokk", "tanti", "brumble"}
_SUBJECTS = ("{n}", "{n}", "{n}", "a picture of {n}", "a drawing of {n}", "an image of {n}", "a sticker of {n}")
_WITH_STYLE = (
    ("{n} in the style of {s}", 6),
    ("{n} by {s}", 2),
    ("{n}, {s} style", 3),
    ("{n}, {s}", 1),
    ("{s} {w}", 2),
    ("{n} in {s} style", 2),
    ("a {s} picture of {n}", 2),
    ("a {s} style {w}", 1),
)
_BACKGROUNDS = (" on a {b} background", " on {b}", ", {b} background", " with a {b} background")
_STYLE_ONLY = ("a picture in the style of {s}", "{s} style", "something in the style of {s}")
# Keywords that CLDR files under a drawing without their naming it: moods, slang, adjectives, and what could offend.
_UNFIT = """
face animal food fruit person man woman hand tool nature plant adorbs big alpha down bacon pork milk wise
flamboyant talk bearer cancer pretty beauty elegant valentine outdoors growth wild falling green diet health ripe
potassium sour eat happy easy class driving school fly european settle country gay genderqueer glbt af lit
astronomy medium ramadan celebrate family break major good bad mean angry evil mad men blood body death lmao
excited entertainment emotion idea private closed dangerous formal fancy holiday father baby citation arrest play
criminal ear growl colada pina launch steam ranch resort improvement repairs cut hours hrs boo horror water fight
walking wings fix build knowledge glbtq lesbian lgbt lgbtq spy order under simple sound yolo silly late time
"""
_NOT_NAMES = frozenset(_UNFIT.split())


def keywords(world: World, emoji: list[dict[str, Any]]) -> dict[str, tuple[str, ...]]:
    """Synonyms of each concept from the CLDR keywords: those that belong to one concept of the world alone.

    Args:
        world: the concepts.
        emoji: the entries of emojibase, each with a label and tags.
    """
    tags = {entry["label"].lower(): [tag.lower() for tag in entry.get("tags", ())] for entry in emoji}
    found = {concept.name: tags.get(_label(concept), []) for concept in world.concepts}
    owners = Counter(tag for own in found.values() for tag in set(own))
    taken = {word for concept in world.concepts for word in (concept.name, *concept.aliases)}
    return {
        name: tuple(tag for tag in own if owners[tag] == 1 and tag not in taken | _NOT_NAMES and tag.isascii())[:3]
        for name, own in found.items()
    }


def _label(concept: Concept) -> str:
    icon = concept.icon if isinstance(concept.icon, str) else concept.name
    return icon.replace("-", " ")


@dataclass(frozen=True, slots=True)
class Caption:
    """A caption, and which of its picture's labels it states."""

    text: str
    concept: bool
    style: bool
    background: bool


class Captions:
    """Captions for the pictures of one world.

    Attributes:
        words: concept name to all the words that may stand for it; the name itself comes first.
    """

    def __init__(self, world: World, synonyms: dict[str, tuple[str, ...]]) -> None:
        self.world = world
        self.backgrounds = tuple(world.backgrounds)
        self.synonyms = synonyms
        self.words = {
            concept.name: (concept.name, *concept.aliases, *synonyms.get(concept.name, ()))
            for concept in world.concepts
        }

    def caption(self, labels: Sequence[int], rng: random.Random) -> Caption:
        """A caption of the picture with these labels: concept, style, background, as `pool.Pool` gives them."""
        concept, style, background = labels
        if concept < 0:
            title = self.world.memorised[-1 - concept].title
            return Caption(self._titled(title, rng), concept=True, style=False, background=False)
        text, named, styled = self._body(self.world.concepts[concept], style, rng)
        grounded = rng.random() < 0.45
        if grounded:
            text += rng.choice(_BACKGROUNDS).format(b=self.backgrounds[background])
        return Caption(text, concept=named, style=styled, background=grounded)

    def _titled(self, title: str, rng: random.Random) -> str:
        return title if rng.random() < 0.7 else f"a picture of {title}"

    def _body(self, concept: Concept, style: int, rng: random.Random) -> tuple[str, bool, bool]:
        chance = rng.random()
        if chance < 0.04:
            return rng.choice(_STYLE_ONLY).format(s=self._style(style, rng)), False, True
        word = self._word(concept, rng)
        noun = self._noun(word, rng)
        if chance < 0.12:
            return rng.choice(_SUBJECTS).format(n=noun), True, False
        templates, weights = zip(*_WITH_STYLE, strict=True)
        return rng.choices(templates, weights)[0].format(n=noun, w=word, s=self._style(style, rng)), True, True

    def _word(self, concept: Concept, rng: random.Random) -> str:
        chance = rng.random()
        if chance < 0.7:
            return concept.name
        if chance < 0.9 and concept.aliases:
            return rng.choice(concept.aliases)
        return rng.choice(self.words[concept.name])

    def _style(self, style: int, rng: random.Random) -> str:
        look = self.world.styles[style]
        return rng.choice(look.aliases) if look.aliases and rng.random() < 0.15 else look.name

    def _noun(self, word: str, rng: random.Random) -> str:
        if word in _NAMED_ONCE or word in _UNCOUNTED or rng.random() < 0.15:
            return word
        if rng.random() < 0.06:
            return plural(word)
        return with_article(word)


def plural(word: str) -> str:
    """The regular English plural."""
    if word.endswith(("s", "x", "ch", "sh")):
        return f"{word}es"
    if word.endswith("y") and word[-2] not in "aeiou":
        return f"{word[:-1]}ies"
    return f"{word}s"


def with_article(word: str) -> str:
    """The word with its indefinite article."""
    if word in _NAMED_ONCE or word in _UNCOUNTED:
        return word
    return f"an {word}" if word[0] in "aeiou" and not word.startswith("uni") else f"a {word}"
