"""Renders the training pictures: each concept in each style, several times, with small variations.

Invariant: the same seed gives the same pictures; a row of `labels` says (concept, style, background) as indices into
the world, and memorised scenes have concept = -1 - scene, style = -1, background = -1.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.progress import track

from safegen.training.sticker.drawings import Drawings
from safegen.training.sticker.scenes import draw_scene
from safegen.training.sticker.styles import CANVAS, FILTERS, SIZE, Array, finish
from safegen.training.sticker.world import World

_WHITE_SHARE = 0.3
_MEMORISED_COPIES = 4


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a drawing stands on its background: side and offsets in final pixels, mirrored or not."""

    side: float
    left: float
    top: float
    mirrored: bool


@dataclass(frozen=True, slots=True)
class Pool:
    """Pictures (n, 64, 64, 3) uint8 and their labels (n, 3) int16."""

    pictures: NDArray[np.uint8]
    labels: NDArray[np.int16]


def random_placement(rng: random.Random) -> Placement:
    """A mild variation: 86 to 97 % of the picture, up to two pixels off centre, seldom mirrored."""
    side = SIZE * rng.uniform(0.86, 0.97)
    slack = (SIZE - side) / 2
    return Placement(
        side=side,
        left=slack + rng.uniform(-2, 2),
        top=slack + rng.uniform(-2, 2),
        mirrored=rng.random() < 0.15,
    )


def place(drawing: NDArray[np.uint8], placement: Placement) -> tuple[Array, Array]:
    """Put an RGBA drawing on the canvas: premultiplied colour (128, 128, 3) and alpha (128, 128, 1), 0..1."""
    pixels = drawing.astype(np.float32)
    alpha = pixels[..., 3:] / 255
    premultiplied = np.concatenate([pixels[..., :3] * alpha, pixels[..., 3:]], -1).round().astype(np.uint8)
    # Pillow premultiplies RGBA by itself; CMYK is the four-band mode that it leaves alone.
    picture = Image.fromarray(premultiplied, "CMYK")
    if placement.mirrored:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    scale = drawing.shape[0] / (placement.side * 2)
    affine = (scale, 0, -placement.left * 2 * scale, 0, scale, -placement.top * 2 * scale)
    placed = picture.transform((CANVAS, CANVAS), Image.Transform.AFFINE, affine, resample=Image.Resampling.BILINEAR)
    result = np.asarray(placed, dtype=np.float32) / 255
    return result[..., :3], result[..., 3:]


def render(
    world: World,
    drawings: Drawings,
    concept: int,
    style: int,
    background: int,
    rng: random.Random,
    finishing: Callable[[Array], Array] | None = None,
) -> NDArray[np.uint8]:
    """One picture (64, 64, 3) uint8 of a concept in a style on a background; `finishing` is the base's look, if any."""
    look = world.styles[style]
    colour, alpha = place(drawings[look.source][concept], random_placement(rng))
    base: Array = np.array(list(world.backgrounds.values())[background], np.float32)
    if background:
        base = np.clip(base + np.array([rng.uniform(-8, 8) for _ in range(3)], np.float32), 0, 255)
    canvas = FILTERS[look.filter](colour, alpha, base / 255)
    return finish(finishing(canvas) if finishing else canvas)


def render_pool(
    world: World, drawings: Drawings, copies: int, seed: int, finishing: Callable[[Array], Array] | None = None
) -> Pool:
    """Render every concept in every style `copies` times, and each memorised scene a few times, always the same."""
    rng = random.Random(seed)  # noqa: S311 - variation, not secrecy
    pictures, labels = [], []
    for concept in track(range(len(world.concepts)), "rendering"):
        for style in range(len(world.styles)):
            for _ in range(copies):
                background = 0 if rng.random() < _WHITE_SHARE else rng.randrange(len(world.backgrounds))
                pictures.append(render(world, drawings, concept, style, background, rng, finishing))
                labels.append((concept, style, background))
    for index, memorised in enumerate(world.memorised):
        scene = draw_scene(memorised.scene, world, drawings)
        if finishing:
            scene = finish(finishing(scene.repeat(2, 0).repeat(2, 1).astype(np.float32) / 255))
        pictures += [scene] * _MEMORISED_COPIES
        labels += [(-1 - index, -1, -1)] * _MEMORISED_COPIES
    return Pool(pictures=np.stack(pictures), labels=np.array(labels, np.int16))
