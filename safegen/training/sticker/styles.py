"""The looks of the sticker world: a drawing placed on a background, seen through a picture filter.

The filters are ours. They act on a canvas of twice the final size, so that lines are anti-aliased by the last
reduction. Invariant: a filter is a pure function of (colour, alpha, background); what varies is the placement.

Shapes: colour is premultiplied (S, S, 3), alpha (S, S, 1), background (3,), all float32 in 0..1, with S = 128; the
result is uint8 (64, 64, 3).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Array = NDArray[np.floating[Any]]
Filter = Callable[[Array, Array, Array], Array]

SIZE = 64
"""Side of a finished picture, in pixels."""
CANVAS = 2 * SIZE

LUMINANCE = np.array([0.299, 0.587, 0.114], dtype=np.float32)
"""Weights of red, green and blue in grey (ITU-R BT.601)."""


def plain(colour: Array, alpha: Array, background: Array) -> Array:
    """The drawing as its makers drew it."""
    return colour + background * (1 - alpha)


def pixel_art(colour: Array, alpha: Array, background: Array) -> Array:
    """Blocks of 4 x 4 final pixels in few, strong colours, with hard edges."""
    blocks = 16
    small, cover = _reduce(colour, blocks), _reduce(alpha, blocks)
    tone = _saturate(small / np.maximum(cover, 1e-3), 1.35)
    tone = np.round(np.clip(tone, 0, 1) * 5) / 5
    picture = np.where(cover > 0.45, tone, background)
    return np.repeat(np.repeat(picture, CANVAS // blocks, 0), CANVAS // blocks, 1)


def pencil(colour: Array, alpha: Array, background: Array) -> Array:
    """Graphite on tinted paper: outlines by colour dodge, shade by hatching."""
    paper = 0.5 + 0.5 * background
    grey = (plain(colour, alpha, np.ones(3, np.float32)) @ LUMINANCE)[..., None]
    blurred = blur(grey, 3.0)
    dodge = np.clip(grey / np.maximum(blurred, 0.05), 0, 1) ** 4
    rim = edge(alpha, 1.2)
    rows, columns = np.indices((CANVAS, CANVAS), dtype=np.float32)
    hatch = (0.5 + 0.5 * np.sin((rows + columns) * (2 * np.pi / 9)))[..., None]
    shade = np.clip((0.82 - grey) * 1.1, 0, 0.75) * hatch * alpha
    darkness = np.clip((1 - dodge) * 1.4 + rim + shade, 0, 1)
    graphite = np.array([0.17, 0.17, 0.2], np.float32)
    drawn: Array = paper * (1 - darkness) + graphite * darkness
    return drawn


def stained_glass(colour: Array, alpha: Array, background: Array) -> Array:
    """Panes of saturated colour between dark leads; the background is cut into rays."""
    tone = ndimage.median_filter(colour / np.maximum(alpha, 1e-3), size=(7, 7, 1))
    tone = np.round(np.clip(_saturate(tone, 1.8), 0, 1) * 3) / 3
    rows, columns = np.indices((CANVAS, CANVAS), dtype=np.float32)
    angle = np.arctan2(rows - CANVAS * 0.5, columns - CANVAS * 0.5)
    ray = np.floor((angle + np.pi) / (2 * np.pi) * 12)
    panes = np.clip(_saturate(background * 0.92, 1.6), 0, 1) * (0.78 + 0.22 * (ray % 2))[..., None]
    inside = alpha > 0.5
    picture = np.where(inside, tone, panes)
    region = np.where(inside[..., 0], (tone * 3 @ np.array([1, 4, 16], np.float32)) + 100, ray)
    lead = (ndimage.maximum_filter(region, 3) != ndimage.minimum_filter(region, 3)).astype(np.float32)
    rim = np.clip(edge(alpha, 1.6) * 1.5, 0, 1)
    darkness = np.clip(np.maximum(blur(lead[..., None], 0.8) * 1.3, rim), 0, 1)
    leaded: Array = picture * (1 - darkness) + 0.05 * darkness
    return leaded


def neon(colour: Array, alpha: Array, background: Array) -> Array:
    """Glowing tubes along the outlines, in front of a dark wall."""
    wall = background * 0.22
    straight = colour / np.maximum(alpha, 1e-3)
    lines = np.clip(edge(colour, 1.1).max(-1, keepdims=True) * 0.9 + edge(alpha, 1.3) * 0.9, 0, 1)
    hue: Array = blur(straight * alpha, 2.0) / np.maximum(blur(alpha, 2.0), 0.02)
    hue = _saturate(hue, 2.2)
    hue = np.clip(hue, 0.06, 1) / np.maximum(np.clip(hue, 0.06, 1).max(-1, keepdims=True), 1e-3)
    glow = blur(lines, 4.0) * 1.1
    core = lines**1.5
    light = np.clip(hue * (0.9 * lines + glow) + 0.35 * core, 0, 1)
    lit: Array = np.clip(wall + light, 0, 1)
    return lit


FILTERS: dict[str, Filter] = {
    "none": plain,
    "pixel-art": pixel_art,
    "pencil": pencil,
    "stained-glass": stained_glass,
    "neon": neon,
}


def finish(picture: Array) -> NDArray[np.uint8]:
    """Reduce a canvas (128, 128, 3) in 0..1 to the finished uint8 picture (64, 64, 3)."""
    return (np.clip(_reduce(picture, SIZE), 0, 1) * 255).round().astype(np.uint8)


def _reduce(picture: Array, side: int) -> Array:
    step = picture.shape[0] // side
    reduced: Array = picture.reshape(side, step, side, step, picture.shape[-1]).mean((1, 3))
    return reduced


def blur(picture: Array, sigma: float) -> Array:
    """Gaussian blur of each channel, `sigma` in canvas pixels."""
    blurred: Array = ndimage.gaussian_filter(picture, (sigma, sigma, 0), mode="nearest")
    return blurred


def edge(picture: Array, sigma: float) -> Array:
    """Strength of the edges in each channel, about 1 for a step from 0 to 1."""
    edges: Array = ndimage.gaussian_gradient_magnitude(picture, (sigma, sigma, 0.01)) * 2.2
    return edges


def _saturate(picture: Array, factor: float) -> Array:
    grey = (picture @ LUMINANCE)[..., None]
    return grey + (picture - grey) * factor
