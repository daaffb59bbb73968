"""Calibrates the gate of an SPM: reads its phrases, its concept's prompts and ordinary prompts, and fits the curve.

Invariants: the benign prompts are read once for each text encoder and shared by all SPMs; a benign prompt that names
the concept, by whatever word the vocabulary knows for it, does not count as benign.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from pydantic import ValidationError

from safegen.spm.calibration import Calibration, fit, source_digest, stored_calibration
from safegen.spm.similarity import ConceptStack
from safegen.spm.text_space import TextSpace
from safegen.spm.vocabulary import vocabulary_of

if TYPE_CHECKING:
    from safegen.models import BaseModel
    from safegen.spm.reading_cache import ReadingCache


def text_space(base: BaseModel, *, cache: ReadingCache | None = None) -> TextSpace:
    """The text space of a base model, with the words that the base knows."""
    return TextSpace(
        partial(base.read, padding=False),
        encoder=base.encoder_digest,
        vocabulary=vocabulary_of(base.vocabulary_file),
        cache=cache,
    )


def kept_calibration(space: TextSpace, metadata: Mapping[str, str], phrases: Sequence[str]) -> Calibration:
    """The calibration that an SPM carries; one made on the spot if it has none, or one for another text space.

    Args:
        space: of the base model.
        metadata: of the SPM file.
        phrases: the policy's, for an SPM without a calibration.
    """
    stored = stored_calibration(metadata)
    if stored is not None and stored.space == space.digest:
        return stored
    own = tuple(stored.phrases if stored else phrases)
    text = space.kept_text("calibration", own, lambda: calibrate(space, own).to_metadata())
    try:
        return Calibration.model_validate_json(text)
    except ValidationError:
        return calibrate(space, own)


def calibrate(
    space: TextSpace,
    phrases: Sequence[str],
    *,
    target_prompts: Sequence[str] = (),
    benign_prompts: Sequence[str] = (),
) -> Calibration:
    """Fit the gate of one concept.

    Args:
        space: of the base model; the same for all SPMs, so that ordinary prompts are read once.
        phrases: the concept's phrases.
        target_prompts: prompts that mean the concept; the phrases in the vocabulary's templates if there are none.
        benign_prompts: further ordinary prompts, e.g. of neighbours, beside the vocabulary's.
    """
    target = tuple(target_prompts) or tuple(text for phrase in phrases for text in space.vocabulary.carriers(phrase))
    stack = ConceptStack([space.concept(phrases)])
    texts, points = [*space.benign_prompts, *benign_prompts], [*space.benign, *space.read(benign_prompts)]
    kept = space.vocabulary.strangers(phrases, texts)
    benign = [texts[number] for number in kept]
    own = stack.meaning(list(space.read(target)))[:, 0]
    others = stack.meaning([points[number] for number in kept])[:, 0]
    return fit(
        own.tolist(),
        others.tolist(),
        phrases=phrases,
        benign_prompts=benign,
        source=source_digest(phrases, target, benign),
        space=space.digest,
        encoder=space.encoder,
    )
