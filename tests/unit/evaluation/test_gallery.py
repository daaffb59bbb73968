"""Pictures are drawn once, and never served for another adapter, seed or gate."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from safegen.evaluation.drawing import Sampler
from safegen.evaluation.gallery import Gallery
from safegen.evaluation.method import BARE, Membranes, always, fingerprint
from safegen.models import BaseModel, Drawing, DrawRequest
from safegen.spm import Attached, SpmFile

PROMPTS = [("a cat", 1), ("an owl", 2)]


class Counted:
    """A method that paints its seed, and counts what it is asked for."""

    name = "counted"

    def __init__(self, states: dict[str, str]) -> None:
        self._states = states
        self.asked: list[tuple[str, int]] = []

    def states(self, prompts: Sequence[str]) -> list[str]:
        return [self._states.get(prompt, "one") for prompt in prompts]

    def draw(self, state: str, request: DrawRequest) -> list[Image.Image]:
        self.asked += [(state, seed) for seed in request.seeds]
        return [Image.new("RGB", (8, 8), (seed, 0, 0)) for seed in request.seeds]


class Blank:
    """A base that draws white."""

    family, digest = "none", "sha256:blank"

    def draw(self, request: DrawRequest) -> Drawing:
        return Drawing(tuple(Image.new("RGB", (8, 8), "white") for _ in request.seeds))


def gallery(folder: Path | None = None, **sampler: int) -> Gallery:
    return Gallery(Blank(), Sampler(**sampler), folder)  # type: ignore[arg-type]


def test_the_same_picture_is_drawn_once(tmp_path: Path) -> None:
    """Also by a second run, which finds it in the folder."""
    method = Counted({})
    first = gallery(tmp_path).draw(method, [*PROMPTS, *PROMPTS])
    again = gallery(tmp_path).draw(method, PROMPTS)
    assert method.asked == [("one", 1), ("one", 2)]
    assert [np.asarray(picture)[0, 0, 0] for picture in (*first, *again)] == [1, 2, 1, 2, 1, 2]


def test_another_state_seed_or_sampler_is_another_picture(tmp_path: Path) -> None:
    """Each is drawn anew."""
    one, other = Counted({}), Counted({"a cat": "two"})
    gallery(tmp_path).draw(one, PROMPTS)
    gallery(tmp_path).draw(other, PROMPTS)
    gallery(tmp_path).draw(other, [("a cat", 3)])
    gallery(tmp_path, steps=7).draw(one, PROMPTS[:1])
    assert other.asked == [("two", 1), ("two", 3)]
    assert one.asked == [("one", 1), ("one", 2), ("one", 1)]


def test_what_no_gate_opens_for_is_the_bare_picture(tmp_path: Path) -> None:
    """A method is not asked for its bare state."""
    method = Counted({"a cat": BARE})
    drawn = gallery(tmp_path).draw(method, PROMPTS)
    assert method.asked == [("one", 2)]
    assert np.asarray(drawn[0])[0, 0].tolist() == [255, 255, 255]


def test_identity_compares_pictures_drawn_now() -> None:
    """A method that paints is not the base; one whose state is bare is."""
    kept = gallery()
    assert kept.identity(Counted({}), PROMPTS) == [False, False]
    bare = Membranes(Blank(), lambda prompts: [()] * len(prompts))  # type: ignore[arg-type]
    assert bare.states(["x"]) == [BARE]


def test_membranes_change_the_picture_and_leave_the_base_as_it_was(base: BaseModel, spm: SpmFile) -> None:
    """Drawn for real: open, closed, open again."""
    small = Gallery(base, Sampler(steps=2))
    bare = small.bare(PROMPTS)
    erased = small.draw(Membranes(base, always(Attached(spm, 1.0, "test"))), PROMPTS)
    closed = Membranes(base, always(Attached(spm, 0.0, "test")))
    assert not np.array_equal(np.asarray(bare[0]), np.asarray(erased[0]))
    assert closed.states(["a cat"]) == [BARE]
    assert all(small.identity(closed, PROMPTS))


def test_adapters_are_told_apart_by_their_numbers_alone(spm: SpmFile) -> None:
    """No two adapters share pictures; one that was written again with other metadata keeps its own."""
    (name, (down, up, alpha)), *_ = spm.layers.items()
    one, other = (SpmFile({name: (down * factor, up, alpha)}, {}, "") for factor in (1, 2))
    assert fingerprint(one) != fingerprint(other)
    assert fingerprint(one) == fingerprint(SpmFile({name: (down.clone(), up, alpha)}, {"a": "b"}, "sha256:2"))
