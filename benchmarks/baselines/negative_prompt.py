"""Negative prompt: steer away from the concept's name at every step; no training.

As the field uses it: the negative text takes the place of the empty one in classifier-free guidance (Ho and Salimans
2022, arXiv 2207.12598).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from safegen.models import BaseModel, DrawRequest


class NegativePrompt:
    """The base model with the concept as negative prompt."""

    name = "negative prompt"

    def __init__(self, base: BaseModel, concept: str) -> None:
        self._base, self._concept = base, concept

    def states(self, prompts: Sequence[str]) -> list[str]:
        """The same for every prompt."""
        return [f"negative:{self._concept}"] * len(prompts)

    def draw(self, state: str, request: DrawRequest) -> Any:  # noqa: ARG002 - there is one state
        """Draw, away from the concept."""
        return self._base.draw(replace(request, negative_prompt=self._concept)).images
