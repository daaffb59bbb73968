"""What an app asks for, checked before anything happens.

Invariant: a request that passes can be carried out by the base model as it stands; one that does not raises a
`RequestError` that names the field, and leaves no trace in the ledger, since nothing was attempted.
"""

from __future__ import annotations

import secrets
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import ValidationError

from safegen.errors import RequestError
from safegen.policy import Audience, PromptRequest

MAX_PROMPT = 4000
"""Characters in a prompt."""
MAX_IMAGES = 16
"""Images in one request."""
MAX_STEPS = 150
_SEEDS = 2**32
_BLANKS = str.maketrans({"\n": " ", "\r": " ", "\t": " "})


@dataclass(frozen=True, slots=True)
class Canvas:
    """What sizes a base model draws, in pixels: multiples of `multiple` from `smallest` to `largest`."""

    size: int
    multiple: int
    smallest: int
    largest: int


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """A checked request; `asked_seed` is None if the caller left the seed to us.

    `asked` is what the policy sees of it: the texts, and for whom the images are.
    """

    asked: PromptRequest
    n: int
    seed: int
    asked_seed: int | None
    width: int
    height: int
    steps: int
    guidance: float

    @property
    def prompt(self) -> str:
        """What to draw."""
        return self.asked.prompt

    @property
    def negative_prompt(self) -> str:
        """What to steer away from."""
        return self.asked.negative_prompt

    @property
    def seeds(self) -> tuple[int, ...]:
        """One seed an image: the request's own, and those after it."""
        return tuple((self.seed + index) % _SEEDS for index in range(self.n))


def check_request(
    prompt: str,
    *,
    canvas: Canvas,
    negative_prompt: str = "",
    n: int = 1,
    seed: int | None = None,
    width: int | None = None,
    height: int | None = None,
    steps: int,
    guidance: float,
    audience: Audience | Mapping[str, str] | None = None,
) -> GenerationRequest:
    """Check every field and fill in what was left open; `audience` says for whom it is.

    Raises:
        RequestError: a field is out of range; the message names it.
    """
    cleaned = _text(prompt, "prompt", empty=False)
    negative = _text(negative_prompt, "negative_prompt", empty=True)
    return GenerationRequest(
        asked=_asked(cleaned, negative, audience or {}),
        n=_whole(n, "n", 1, MAX_IMAGES),
        seed=secrets.randbelow(_SEEDS) if seed is None else _whole(seed, "seed", 0, _SEEDS - 1),
        asked_seed=seed,
        width=_side(width, "width", canvas),
        height=_side(height, "height", canvas),
        steps=_whole(steps, "steps", 1, MAX_STEPS),
        guidance=_number(guidance, "guidance", 1.0, 30.0),
    )


def _asked(prompt: str, negative_prompt: str, audience: Audience | Mapping[str, str]) -> PromptRequest:
    stated = audience.model_dump() if isinstance(audience, Audience) else audience
    try:
        return PromptRequest.model_validate({**stated, "prompt": prompt, "negative_prompt": negative_prompt})
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise RequestError(f"{field}: {first['msg']}", where=field, hint=f"not {first['input']!r}") from error


def _text(text: object, field: str, *, empty: bool) -> str:
    if not isinstance(text, str):
        raise RequestError(f"{field} must be text, not {type(text).__name__}", where=field)
    cleaned = text.translate(_BLANKS).strip()
    if not cleaned and not empty:
        raise RequestError("the prompt is empty", where=field, hint="say what to draw")
    if len(cleaned) > MAX_PROMPT:
        raise RequestError(
            f"{field} has {len(cleaned):,} characters; at most {MAX_PROMPT:,} are read", where=field, hint="shorten it"
        )
    for position, character in enumerate(cleaned):
        if unicodedata.category(character) in {"Cc", "Cs"}:
            raise RequestError(
                f"{field} holds the control character U+{ord(character):04X} at position {position}",
                where=field,
                hint="remove it; line breaks and tabs are welcome",
            )
    return cleaned


def _whole(value: object, field: str, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise RequestError(f"{field} must be a whole number, not {value!r}", where=field)
    if not least <= value <= most:
        raise RequestError(f"{field} is {value:,}; it must be from {least:,} to {most:,}", where=field)
    return value


def _number(value: object, field: str, least: float, most: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise RequestError(f"{field} is {value!r}; it must be a number from {least:g} to {most:g}", where=field)
    return float(value)


def _side(value: int | None, field: str, canvas: Canvas) -> int:
    if value is None:
        return canvas.size
    side = _whole(value, field, canvas.smallest, canvas.largest)
    if side % canvas.multiple:
        near = round(side / canvas.multiple) * canvas.multiple
        raise RequestError(
            f"{field} is {side}; this base model draws multiples of {canvas.multiple}", where=field, hint=f"take {near}"
        )
    return side
