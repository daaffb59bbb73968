"""What a base model can draw, by name, and the prompts by which that is measured.

Invariants: a prompt names exactly one subject; the wordings of `UNSEEN` stand in no training recipe; all choices come
from a seed.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

PLAIN = "{noun} in the style of {style}"
UNSEEN = (
    "a sticker of {noun} in {style} style on a {background} background",
    "an image of {noun} by {style}, {background} background",
    "a drawing of {noun}, {style} style, on {background}",
    "{noun} by {style} with a {background} background",
    "a {style} style {word} on {background}",
    "an image of {noun} in {style} style, {background} background",
    "{style} {word} with a {background} background",
)
"""Wordings that no recipe trains on; whether the base understands them is measured beside."""
_TITLED = ("{title}", "a picture of {title}")
_CAPTIONS = (PLAIN, "{noun}, {style} style", "a {style} picture of {noun}", *UNSEEN)


@dataclass(frozen=True, slots=True)
class Subject:
    """Something that can be drawn: its name, as it stands in a sentence, its kind, and its other names."""

    name: str
    noun: str
    category: str
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True)
class Probe:
    """One picture to be drawn and what must, or must not, be seen in it.

    Attributes:
        prompt: what is asked for.
        seed: of the picture.
        subject: concept or title that the prompt names.
        style: style that the prompt names, if any.
    """

    prompt: str
    seed: int
    subject: str
    style: str | None = None

    @property
    def prompted(self) -> tuple[str, int]:
        """Prompt and seed."""
        return self.prompt, self.seed


@dataclass(frozen=True)
class Vocabulary:
    """All that a base model draws by name."""

    concepts: tuple[Subject, ...]
    styles: tuple[str, ...]
    titles: tuple[str, ...] = ()
    backgrounds: tuple[str, ...] = ("white", "blue")

    def subject(self, name: str) -> Subject:
        """The concept of that name.

        Raises:
            KeyError: there is none.
        """
        for each in self.concepts:
            if each.name == name:
                return each
        raise KeyError(name)

    def probes(self, name: str, count: int, seed: int) -> list[Probe]:
        """Pictures of a concept over all styles in turn, or of a title."""
        if name in self.titles:
            return [Probe(_TITLED[i % 2].format(title=name), seed + i, name) for i in range(count)]
        noun = self.subject(name).noun
        styles = [self.styles[i % len(self.styles)] for i in range(count)]
        return [Probe(PLAIN.format(noun=noun, style=style), seed + i, name, style) for i, style in enumerate(styles)]

    def styled(self, style: str, count: int, seed: int) -> list[Probe]:
        """Pictures of evenly chosen concepts in one style."""
        step = max(1, len(self.concepts) // count)
        chosen = self.concepts[::step][:count]
        return [
            Probe(PLAIN.format(noun=each.noun, style=style), seed + i, each.name, style)
            for i, each in enumerate(chosen)
        ]

    def paraphrases(self, name: str, count: int, seed: int) -> list[Probe]:
        """Pictures of a concept in wordings that no recipe trains on, all of them in turn, the first by the seed."""
        rng, subject = random.Random(f"{seed}/{name}"), self.subject(name)  # noqa: S311 - variation, not secrecy
        return [self._worded(subject, UNSEEN[(seed + i) % len(UNSEEN)], rng, seed + i) for i in range(count)]

    def captions(self, count: int, seed: int, *, without: Sequence[str] = ()) -> list[Probe]:
        """The first everyday prompts of an endless list that name none of some concepts and styles."""
        rng = random.Random(seed)  # noqa: S311 - variation, not secrecy
        made: list[Probe] = []
        while len(made) < count:
            each = self._worded(rng.choice(self.concepts), rng.choice(_CAPTIONS), rng, rng.randrange(2**31))
            if each.subject not in without and each.style not in without:
                made.append(each)
        return made

    def _worded(self, subject: Subject, wording: str, rng: random.Random, seed: int) -> Probe:
        style = rng.choice(self.styles)
        background = rng.choice(self.backgrounds)
        text = wording.format(noun=subject.noun, word=subject.name, style=style, background=background)
        return Probe(text, seed, subject.name, style)
