"""From similarity to permeability: a curve fitted for one SPM on prompts of its concept and on ordinary ones.

Invariants: the curve is monotone, exactly 0 below its cut-off and 1 at its end; fitting is a pure function of the
similarities; a calibration counts only in the text space whose digest it states.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

if TYPE_CHECKING:
    from numpy.typing import NDArray

KEY = "calibration"
"""Key of an SPM file's metadata under which its calibration stands, as JSON."""

QUANTILES = (0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999, 1.0)
BINS = 40
"""Bins of the histograms, over similarities 0..1."""

LOWEST_CUTOFF = 0.2
"""A prompt less similar than this never opens a gate, however well its concept stands apart."""

_CONFUSED = 0.01
"""Share of the benign prompts that may read like the concept itself without closing its gate."""
_MARGIN = 0.2
"""The cut-off lies this share of the way from the most similar benign prompts to the concept's own."""
_LEAST_GAP = 0.25
"""Least distance between the most similar benign prompt and the concept's median for meaning to open the gate."""
_START = 0.5
"""Permeability at the cut-off: a membrane that is open at all is half open, since less erases nothing."""
_FULL = 0.5
"""Permeability 1 is reached this share of the way from the cut-off to the concept's median."""
_WORDS_ALONE = 1.0
"""Cut-off of a gate that only its own words open: no meaning is as similar as that."""

Share = Annotated[float, Field(ge=0, le=1)]
_DIGEST = r"^sha256:[0-9a-f]{64}$"


class Knot(BaseModel):
    """One point of the curve."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    similarity: Share
    gamma: Share


class Sample(BaseModel):
    """Similarities of prompts to a concept, in summary.

    Attributes:
        prompts: how many.
        open: share of them that the curve opens at all; phrases that stand in the text word by word do not count here.
        quantiles: of the similarities, at `QUANTILES`.
        histogram: prompts in each of `BINS` equal bins of 0..1.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompts: int = Field(ge=0)
    open: Share
    quantiles: tuple[Share, ...] = Field(min_length=len(QUANTILES), max_length=len(QUANTILES))
    histogram: tuple[int, ...] = Field(min_length=BINS, max_length=BINS)


class Calibration(BaseModel):
    """How one SPM's gate opens, and what that was fitted on.

    Attributes:
        phrases: what the concept was compared by.
        curve: knots by rising similarity, joined by straight lines; below the first, the cut-off, permeability is 0.
        target: prompts of the concept, by meaning alone.
        benign: ordinary prompts.
        confused: benign prompts that read like the concept itself, most similar first; they did not set the cut-off.
        source: digest of the phrases and of all prompts.
        space: digest of the text space (text encoder, vocabulary, method) in which similarities were taken.
        encoder: digest of the text encoder.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    phrases: tuple[str, ...] = Field(min_length=1)
    curve: tuple[Knot, ...] = Field(min_length=1)
    target: Sample
    benign: Sample
    confused: tuple[str, ...] = ()
    source: str = Field(pattern=_DIGEST)
    space: str = Field(pattern=_DIGEST)
    encoder: str = Field(pattern=_DIGEST)

    @model_validator(mode="after")
    def _monotone(self) -> Calibration:
        similarities = [knot.similarity for knot in self.curve]
        gammas = [knot.gamma for knot in self.curve]
        if similarities != sorted(set(similarities)) or gammas != sorted(gammas) or gammas[-1] != 1:
            message = "the curve must rise with the similarity, and end at 1"
            raise ValueError(message)
        return self

    @property
    def cutoff(self) -> float:
        """The least similarity that opens the gate."""
        return self.curve[0].similarity

    def permeability(self, similarity: float) -> float:
        """gamma in 0..1."""
        return float(curve_value(np.array([similarity]), self.curve)[0])

    def to_metadata(self) -> str:
        """As an SPM file's metadata holds it."""
        return self.model_dump_json()


def stored_calibration(metadata: Mapping[str, str]) -> Calibration | None:
    """The calibration in an SPM file's metadata; None if there is none, or one that cannot be read."""
    try:
        return Calibration.model_validate_json(metadata[KEY])
    except (KeyError, ValidationError):
        return None


def curve_value(similarities: NDArray[np.float64], curve: Sequence[Knot]) -> NDArray[np.float64]:
    """gamma of each similarity: 0 below the first knot, straight lines between knots, the last one's beyond it."""
    return Curves([curve]).values(similarities[:, None])[:, 0]


class Curves:
    """Many curves, evaluated together."""

    def __init__(self, curves: Sequence[Sequence[Knot]]) -> None:
        most = max((len(curve) for curve in curves), default=1)
        # A curve with fewer knots repeats its last one: a line of no length, which adds nothing.
        padded = [[*curve, *[curve[-1]] * (most - len(curve))] for curve in curves]
        self._at = np.array([[knot.similarity for knot in curve] for curve in padded]).reshape(-1, most)
        self._gamma = np.array([[knot.gamma for knot in curve] for curve in padded]).reshape(-1, most)

    def values(self, similarities: NDArray[np.float64]) -> NDArray[np.float64]:
        """(..., curves): gamma of each curve at its own similarity."""
        gammas = np.where(similarities < self._at[:, 0], 0.0, self._gamma[:, 0])
        for left in range(self._at.shape[1] - 1):
            start, width = self._at[:, left], self._at[:, left + 1] - self._at[:, left]
            share = np.clip((similarities - start) / np.where(width > 0, width, 1.0), 0.0, 1.0)
            gammas += np.where(similarities < start, 0.0, share * (self._gamma[:, left + 1] - self._gamma[:, left]))
        return np.minimum(gammas, 1.0)


def fit(
    target: Sequence[float],
    benign: Sequence[float],
    *,
    phrases: Sequence[str],
    benign_prompts: Sequence[str] = (),
    source: str,
    space: str,
    encoder: str,
) -> Calibration:
    """Fit the curve.

    The cut-off lies above every benign prompt, a margin towards the concept's own; full permeability is reached half
    the way from there to the concept's median. Benign prompts more similar than that median read like the concept
    itself: up to 1 % of them are named as `confused` and left out. Where the others come too near to the concept's own,
    meaning does not tell them apart, and the gate opens for the concept's words alone.

    Args:
        target: similarities of the concept's prompts, by meaning alone, each 0..1.
        benign: similarities of ordinary prompts.
        phrases: the concept's phrases.
        benign_prompts: their texts, to name the confused ones.
        source: see `Calibration`.
        space: see `Calibration`.
        encoder: see `Calibration`.
    """
    own, others = np.clip(np.asarray(target, float), 0, 1), np.clip(np.asarray(benign, float), 0, 1)
    typical = float(np.median(own)) if own.size else 0.0
    order = np.argsort(-others, kind="stable")
    alike = int((others > typical).sum())
    confused = order[:alike] if alike <= _CONFUSED * others.size else order[:0]
    told_apart = others[order[len(confused) :]]
    curve = _curve(typical, float(told_apart.max(initial=0.0)))
    return Calibration(
        phrases=tuple(phrases),
        curve=curve,
        target=_sample(own, curve),
        benign=_sample(others, curve),
        confused=tuple(benign_prompts[number] for number in confused) if benign_prompts else (),
        source=source,
        space=space,
        encoder=encoder,
    )


def _curve(typical: float, highest: float) -> tuple[Knot, ...]:
    cutoff = max(LOWEST_CUTOFF, highest + _MARGIN * (typical - highest))
    if typical < max(highest + _LEAST_GAP, cutoff):
        return (Knot(similarity=_WORDS_ALONE, gamma=1.0),)
    full = cutoff + _FULL * (typical - cutoff)
    return (Knot(similarity=cutoff, gamma=_START), Knot(similarity=full, gamma=1.0))


def _sample(similarities: NDArray[np.float64], curve: Sequence[Knot]) -> Sample:
    seen = similarities if similarities.size else np.zeros(1)
    return Sample(
        prompts=similarities.size,
        open=float((curve_value(seen, curve) > 0).mean()),
        quantiles=tuple(round(float(value), 4) for value in np.quantile(seen, QUANTILES)),
        histogram=tuple(int(count) for count in np.histogram(similarities, BINS, (0, 1))[0]),
    )


def source_digest(phrases: Sequence[str], target: Sequence[str], benign: Sequence[str]) -> str:
    """`sha256:<hex>` of what a calibration was fitted on."""
    text = json.dumps([list(phrases), list(target), list(benign)], ensure_ascii=False)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()
