"""The looks of the fine-tuned bases: what a finished canvas of the sticker world becomes under one.

A style is named in a prompt; a look is what a whole model draws in, whatever the prompt says. Invariant: a look is a
pure function of the canvas, applied after the style's filter, and leaves concept and style to be told apart.

Shapes: canvases are (128, 128, 3) float32 in 0..1.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import ndimage

from safegen.training.sticker.styles import CANVAS, LUMINANCE, Array, blur, edge

Look = Callable[[Array], Array]


def watercolour(canvas: Array) -> Array:
    """Washes on rough paper: colour runs out of its lines, pigment gathers at the rims, the paper shows through."""
    wash = blur(ndimage.median_filter(canvas, size=(3, 3, 1)), 1.1)
    rims = np.clip(edge(wash, 1.4).max(-1, keepdims=True), 0, 1)
    pigment = (1 - wash) * (0.8 + 0.5 * rims + 0.12 * _GRAIN)
    painted: Array = np.clip(_PAPER - np.clip(pigment, 0, 1) * 0.85, 0, 1)
    return painted


def dusk(canvas: Array) -> Array:
    """The hour after sunset: blue falls from above, the last light glows from below."""
    grey = (canvas @ LUMINANCE)[..., None]
    muted = grey + (canvas - grey) * 0.85
    falling = np.linspace(0, 1, CANVAS, dtype=np.float32)[:, None, None]
    tint = _NIGHT * (1 - falling) + _GLOW * falling
    dimmed: Array = np.clip(muted**1.15 * tint + 0.06 * _NIGHT, 0, 1)
    return dimmed


LOOKS: dict[str, Look] = {"watercolour": watercolour, "dusk": dusk}

_PAPER = np.array([0.985, 0.97, 0.935], np.float32)
_NIGHT = np.array([0.58, 0.6, 0.92], np.float32)
_GLOW = np.array([1.0, 0.8, 0.62], np.float32)
_GRAIN = ndimage.gaussian_filter(
    np.random.default_rng(11).standard_normal((CANVAS, CANVAS, 1)).astype(np.float32), (4, 4, 0)
)
_GRAIN = np.clip(_GRAIN / _GRAIN.std() / 2, -1, 1)
