"""What a request may ask for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safegen.errors import RequestError
from safegen.guard.request import Canvas, GenerationRequest, check_request

CANVAS = Canvas(size=64, multiple=16, smallest=32, largest=128)


def check(prompt: object = "a cat", **options: object) -> GenerationRequest:
    return check_request(prompt, canvas=CANVAS, **{"steps": 20, "guidance": 3.0, **options})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prompt": ""}, "prompt: the prompt is empty"),
        ({"prompt": " \n\t"}, "prompt: the prompt is empty"),
        ({"prompt": "x" * 10_000}, "10,000 characters; at most 4,000"),
        ({"prompt": "a\x00b"}, r"control character U\+0000 at position 1"),
        ({"prompt": "a\ud800"}, r"control character U\+D800"),
        ({"prompt": None}, "must be text, not NoneType"),
        ({"negative_prompt": "\x1b[2J"}, "negative_prompt holds the control character"),
        ({"n": 0}, "n is 0; it must be from 1 to 16"),
        ({"n": 10_000}, "n is 10,000"),
        ({"n": True}, "n must be a whole number"),
        ({"n": 1.5}, "n must be a whole number"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": 2**32}, "seed is 4,294,967,296"),
        ({"width": 65}, "draws multiples of 16"),
        ({"height": 8}, "height is 8; it must be from 32 to 128"),
        ({"steps": 0}, "steps is 0"),
        ({"guidance": float("nan")}, "guidance is nan"),
        ({"guidance": 0.5}, "guidance is 0.5"),
        ({"audience": {"tenant": "No Such Slug"}}, "tenant: String should match pattern"),
        ({"audience": {"age_gate": "maybe"}}, "age_gate: Input should be 'passed', 'failed' or 'unknown'"),
        ({"audience": {"age": "12"}}, "age: Extra inputs are not permitted"),
    ],
)
def test_what_cannot_be_carried_out_is_refused_by_name(options: dict[str, object], message: str) -> None:
    """Each field out of range raises a RequestError that names the field and the range."""
    with pytest.raises(RequestError, match=message):
        check(**options)


def test_what_is_left_open_is_filled_in() -> None:
    """The base's own size, one image, a random seed, and seeds that follow one another."""
    request = check(n=3, seed=2**32 - 1)
    assert (request.width, request.height) == (64, 64)
    assert request.seeds == (2**32 - 1, 0, 1)
    assert check().asked_seed is None


@given(st.text())
def test_any_text_is_either_checked_or_refused(text: str) -> None:
    """No text makes the check fail in any other way, and what passes is clean and within bounds."""
    try:
        request = check(text)
    except RequestError:
        return
    assert 0 < len(request.prompt) <= 4000
    assert request.prompt == request.prompt.strip()
