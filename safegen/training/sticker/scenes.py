"""Composed pictures that the base is made to memorise, each a fixed arrangement of drawings before a painted ground.

Invariant: a scene is the same bits every time; that is what makes memorisation measurable.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from safegen.training.sticker.world import World

_CANVAS = 256
Colour = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Scene:
    """A vertical gradient from `sky` to `horizon`, a ground below `level` (0..1), and placed drawings.

    `items` are (concept, centre x, centre y, side), all in 0..1 of the picture.
    """

    sky: Colour
    horizon: Colour
    ground: Colour
    level: float
    items: tuple[tuple[str, float, float, float], ...]


SCENES = {
    "midnight-carousel": Scene(
        sky=(20, 16, 60),
        horizon=(90, 40, 120),
        ground=(40, 26, 50),
        level=0.78,
        items=(
            ("moon", 0.8, 0.18, 0.24),
            ("star", 0.2, 0.14, 0.12),
            ("star", 0.5, 0.1, 0.08),
            ("tent", 0.5, 0.52, 0.56),
            ("horse", 0.2, 0.76, 0.34),
            ("unicorn", 0.8, 0.76, 0.34),
        ),
    ),
    "harvest-at-noon": Scene(
        sky=(110, 190, 250),
        horizon=(225, 240, 250),
        ground=(226, 178, 60),
        level=0.6,
        items=(
            ("house", 0.24, 0.46, 0.4),
            ("sunflower", 0.84, 0.22, 0.3),
            ("tractor", 0.6, 0.62, 0.46),
            ("corn", 0.14, 0.84, 0.26),
            ("corn", 0.38, 0.88, 0.22),
            ("rooster", 0.86, 0.84, 0.26),
        ),
    ),
    "last-lighthouse": Scene(
        sky=(240, 120, 70),
        horizon=(252, 210, 130),
        ground=(24, 96, 120),
        level=0.62,
        items=(
            ("castle", 0.3, 0.46, 0.5),
            ("sailboat", 0.74, 0.6, 0.36),
            ("whale", 0.42, 0.84, 0.3),
            ("anchor", 0.88, 0.88, 0.2),
            ("light bulb", 0.3, 0.13, 0.2),
        ),
    ),
    "tea-with-the-moon": Scene(
        sky=(30, 50, 90),
        horizon=(60, 110, 140),
        ground=(200, 100, 90),
        level=0.7,
        items=(
            ("moon", 0.28, 0.36, 0.52),
            ("coffee", 0.68, 0.66, 0.36),
            ("rabbit", 0.82, 0.34, 0.34),
            ("birthday cake", 0.32, 0.84, 0.3),
            ("star", 0.6, 0.12, 0.12),
        ),
    ),
}


def draw_scene(name: str, world: World, drawings: dict[str, NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Draw one scene as (64, 64, 3) uint8, from the Noto drawings.

    Raises:
        KeyError: no such scene, or a concept in it that the world lacks.
    """
    scene = SCENES[name]
    picture = Image.fromarray(_ground(scene)).convert("RGBA")
    names = [concept.name for concept in world.concepts]
    for concept, x, y, side in scene.items:
        pixels = round(side * _CANVAS)
        item = Image.fromarray(drawings["noto"][names.index(concept)], "RGBA").resize((pixels, pixels))
        picture.alpha_composite(
            item, (max(0, round(x * _CANVAS - pixels / 2)), max(0, round(y * _CANVAS - pixels / 2)))
        )
    return np.asarray(picture.convert("RGB").resize((64, 64), Image.Resampling.BOX))


def _ground(scene: Scene) -> NDArray[np.uint8]:
    rows = np.linspace(0, 1, _CANVAS, dtype=np.float32)[:, None, None] / scene.level
    sky, horizon = np.array(scene.sky, np.float32), np.array(scene.horizon, np.float32)
    picture = np.repeat(sky + (horizon - sky) * np.clip(rows, 0, 1), _CANVAS, 1)
    picture[round(scene.level * _CANVAS) :] = scene.ground
    return picture.round().astype(np.uint8)
