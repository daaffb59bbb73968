"""Prompts that training relies on are read to their end."""

from __future__ import annotations

from collections.abc import Sequence

from safegen.errors import TrainingError
from safegen.models import TextReading, TrainableModel

TEXTS_AT_ONCE = 64


def read_all(base: TrainableModel, prompts: Sequence[str], *, padding: bool = True) -> list[TextReading]:
    """Read any number of prompts, some at a time; without padding, rows are as long as their batch's longest."""
    return [
        reading
        for start in range(0, len(prompts), TEXTS_AT_ONCE)
        for reading in base.read(prompts[start : start + TEXTS_AT_ONCE], padding=padding)
    ]


def refuse_truncated(prompts: Sequence[str], readings: Sequence[TextReading]) -> None:
    """Raise for a prompt that is longer than the base reads.

    Raises:
        TrainingError: there is one.
    """
    for prompt, reading in zip(prompts, readings, strict=True):
        if reading.truncated:
            raise TrainingError(
                f"the base reads {len(reading.tokens)} tokens, and {prompt!r} has more", hint="shorten the prompt"
            )
