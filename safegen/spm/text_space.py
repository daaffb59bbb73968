"""The space in which the calibrated gate compares a prompt with a concept.

A text encoder's state at a word knows what stands before it, its state at the end knows the whole text. Each word of a
text is a point made of both; the points of ordinary text are centred and whitened, so that what all prompts share (the
template, the padding, the length) has no weight, and what tells things apart has. A concept is the mean point of its
phrase over several carriers, and a prompt's similarity to it is the linear discriminant: 0 at the mean of ordinary
text, 1 at the concept's own mean. Padding and the start token take no part.

Invariants: a space is a function of (text encoder, vocabulary, METHOD), and its digest says so; what is compared
must come from spaces of one digest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch

from safegen.spm.names import forms
from safegen.spm.reading_cache import ReadingCache
from safegen.spm.vocabulary import Vocabulary

METHOD = 1
"""Version of the method; readings and calibrations of another one do not count."""

SHRINKAGE = 0.03
"""Share of the mean variance that every direction is given; from .003 to .3 the sticker base showed no difference."""

LARGEST = 256
"""Most dimensions that are kept, so that the gate costs the same whatever the encoder."""

_BATCH = 128


class Reading(Protocol):
    """A text as a CLIP text encoder reads it: a start token, the text's tokens, the end, padding."""

    @property
    def states(self) -> torch.Tensor:
        """(positions, width), the last hidden states."""

    @property
    def tokens(self) -> tuple[int, ...]:
        """The text's tokens alone."""


Reader = Callable[[Sequence[str]], Sequence[Reading]]


@dataclass(frozen=True)
class Points:
    """A text's words in the space.

    Attributes:
        values: (tokens, dimensions).
        tokens: the token at each point.
    """

    values: torch.Tensor
    tokens: tuple[int, ...]


@dataclass(frozen=True)
class Concept:
    """What the gate knows of a concept.

    Attributes:
        phrases: its phrases.
        rows: (phrases, dimensions); a point's product with a row is its similarity to that phrase.
        compounds: names that hold a phrase and mean another thing.
        hidden: the tokens of the compounds; points inside such a run do not count for this concept.
    """

    phrases: tuple[str, ...]
    rows: torch.Tensor
    compounds: tuple[str, ...]
    hidden: tuple[tuple[int, ...], ...]


class TextSpace:
    """One text encoder's space, and what was read in it."""

    def __init__(
        self, read: Reader, *, encoder: str, vocabulary: Vocabulary, cache: ReadingCache | None = None
    ) -> None:
        """Describe a space; nothing is read before it is needed.

        Args:
            read: encodes texts.
            encoder: `sha256:<hex>` of the text encoder and its tokenizer.
            vocabulary: what ordinary text is made of.
            cache: where readings are kept; the user's cache folder by default.
        """
        self._read, self.encoder, self.vocabulary = read, encoder, vocabulary
        self._cache = cache or ReadingCache.of_user()
        self._concepts: dict[tuple[str, ...], Concept] = {}

    @cached_property
    def digest(self) -> str:
        """`sha256:<hex>` of what the space is a function of."""
        return "sha256:" + hashlib.sha256(f"{METHOD} {self.encoder} {self.vocabulary.digest}".encode()).hexdigest()

    @cached_property
    def benign_prompts(self) -> tuple[str, ...]:
        """The vocabulary's benign prompts."""
        return self.vocabulary.benign()

    def points(self, reading: Reading) -> Points:
        """The words of a text, in the space."""
        count = len(reading.tokens)
        axes = self._kept
        ends = reading.states[1 + count]
        values = reading.states[1 : 1 + count] @ axes["words"] + (ends @ axes["ends"] + axes["offset"])
        return Points(values, reading.tokens)

    def read(self, texts: Sequence[str]) -> Iterator[Points]:
        """Texts in the space, read in batches."""
        for reading in self._readings(texts):
            yield self.points(reading)

    def concept(self, phrases: Sequence[str]) -> Concept:
        """A concept by its phrases, read once and kept."""
        key = tuple(phrases)
        if key not in self._concepts:
            self._concepts[key] = self._concept(key)
        return self._concepts[key]

    def know(self, concept: Concept) -> None:
        """Take a concept that was read elsewhere."""
        self._concepts[concept.phrases] = concept

    def kept_text(self, kind: str, phrases: Sequence[str], make: Callable[[], str]) -> str:
        """A text about a concept in this space, made once and kept in the cache."""
        key = {"kind": kind, "space": self.digest, "phrases": list(phrases)}
        kept = self._cache.get(key)
        if kept is not None and "text" in kept and kept["text"].dtype == torch.uint8:
            return bytes(kept["text"].tolist()).decode()
        text = make()
        self._cache.put(key, {"text": torch.tensor(list(text.encode()), dtype=torch.uint8)})
        return text

    def _concept(self, phrases: tuple[str, ...]) -> Concept:
        compounds = self.vocabulary.compounds(phrases)
        hidden = self._token_runs(compounds)
        key = {"kind": "concept", "space": self.digest, "phrases": list(phrases)}
        kept = self._cache.get(key)
        rows = None if kept is None else kept.get("rows")
        if rows is None or rows.shape != (len(phrases), self._kept["offset"].shape[0]):
            rows = torch.stack([self._row(phrase) for phrase in phrases])
            self._cache.put(key, {"rows": rows})
        return Concept(phrases, rows, compounds, hidden)

    def _token_runs(self, names: Sequence[str]) -> tuple[tuple[int, ...], ...]:
        texts = [" ".join(form) for name in names for form in forms(name)]
        return tuple(reading.tokens for reading in self._readings(texts))

    def _row(self, phrase: str) -> torch.Tensor:
        """The discriminant of a phrase: its mean point, scaled so that the mean itself has the similarity 1."""
        tokens = next(iter(self._readings([phrase]))).tokens
        found = []
        for points in self.read(self.vocabulary.carriers(phrase)):
            at = find_run(points.tokens, tokens)
            if at is not None:
                found.append(points.values[at + len(tokens) - 1])
        if not found:
            return torch.zeros(self._kept["offset"].shape[0])
        mean = torch.stack(found).mean(0)
        return mean / mean.square().sum().clamp_min(torch.finfo(mean.dtype).tiny)

    @cached_property
    def benign(self) -> tuple[Points, ...]:
        """The benign prompts in the space."""
        kept = self._kept
        tokens = kept["benign_tokens"].tolist()
        values = kept["benign_values"].float()
        points, at = [], 0
        for count in kept["benign_counts"].tolist():
            points.append(Points(values[at : at + count], tuple(tokens[at : at + count])))
            at += count
        return tuple(points)

    @cached_property
    def _kept(self) -> dict[str, torch.Tensor]:
        key = {"kind": "space", "space": self.digest}
        kept = self._cache.get(key)
        if kept is None or not _whole(kept):
            kept = self._fit()
            self._cache.put(key, kept)
        return kept

    def _fit(self) -> dict[str, torch.Tensor]:
        """Centre and whiten the points of the benign prompts."""
        readings = list(self._readings(self.benign_prompts))
        words = torch.cat([reading.states[1 : 1 + len(reading.tokens)] for reading in readings])
        counts = torch.tensor([len(reading.tokens) for reading in readings])
        ends = torch.stack([reading.states[1 + len(reading.tokens)] for reading in readings])
        joint = torch.cat([words, ends.repeat_interleave(counts, 0)], dim=1).double()
        mean = joint.mean(0)
        variances, directions = torch.linalg.eigh(torch.cov((joint - mean).T))
        kept = slice(-LARGEST, None)
        scale = ((1 - SHRINKAGE) * variances.clamp_min(0) + SHRINKAGE * variances.mean()).rsqrt()
        axes = directions[:, kept] * scale[kept]
        return {
            "words": axes[: words.shape[1]].float(),
            "ends": axes[words.shape[1] :].float(),
            "offset": (-mean @ axes).float(),
            "benign_values": ((joint - mean) @ axes).half(),
            "benign_tokens": torch.tensor([token for reading in readings for token in reading.tokens]),
            "benign_counts": counts,
        }

    def _readings(self, texts: Sequence[str]) -> Iterator[Reading]:
        for start in range(0, len(texts), _BATCH):
            yield from self._read(texts[start : start + _BATCH])


def find_run(tokens: Sequence[int], run: Sequence[int]) -> int | None:
    """Where a run of tokens first stands in others, or None."""
    wanted = tuple(run)
    places = range(len(tokens) - len(wanted) + 1) if wanted else range(0)
    return next((at for at in places if tuple(tokens[at : at + len(wanted)]) == wanted), None)


def _whole(kept: dict[str, torch.Tensor]) -> bool:
    expected = {"words", "ends", "offset", "benign_values", "benign_tokens", "benign_counts"}
    return (
        set(kept) == expected
        and int(kept["benign_counts"].sum()) == len(kept["benign_values"]) == len(kept["benign_tokens"])
        and kept["words"].shape == kept["ends"].shape
        and all(torch.isfinite(tensor).all() for tensor in kept.values())
    )
