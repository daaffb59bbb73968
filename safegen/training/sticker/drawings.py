"""Turns drawings into bitmaps: one RGBA picture for each concept and emoji set.

Invariant: every bitmap is (128, 128, 4) uint8 with its ink centred and its longest side 124 pixels, so that sets
with wide margins and sets without look alike to the model.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.progress import track

from safegen.errors import TrainingError
from safegen.training.sticker.mascots import mascot_svg
from safegen.training.sticker.world import World

SIDE = 128
Drawings = dict[str, NDArray[np.uint8]]
"""Emoji set to (concepts, 128, 128, 4)."""
_INK = 124
_RASTER = 384


def rasterise_all(world: World, sets: dict[str, Any]) -> Drawings:
    """Rasterise each concept in each emoji set: set name to (concepts, 128, 128, 4) uint8.

    Args:
        world: the concepts, in order.
        sets: emoji set name to its parsed `icons.json`.

    Raises:
        TrainingError: a drawing is missing or empty.
    """
    return {
        source: np.stack(
            [
                _rasterise(icons, concept.icon_in(source), concept.drawn, source)
                for concept in track(world.concepts, f"rasterising {source}")
            ]
        )
        for source, icons in sets.items()
    }


def _rasterise(icons: Any, icon: str | None, drawn: str | None, source: str) -> NDArray[np.uint8]:
    svg = mascot_svg(drawn, shaded=source != "noto") if drawn else icon_svg(icons, icon or "")
    return ink_box(rasterise(svg), where=f"{source}:{icon or drawn}")


def icon_svg(icons: Any, name: str) -> str:
    """The whole SVG of one icon of an iconify set, following its aliases.

    Raises:
        TrainingError: the set has no such icon.
    """
    found = name
    while found not in icons["icons"] and found in icons.get("aliases", {}):
        found = icons["aliases"][found]["parent"]
    icon = icons["icons"].get(found)
    if icon is None:
        raise TrainingError(f"the emoji set has no drawing {name!r}", where=str(icons.get("prefix")))
    box = [icon.get(key, icons.get(key, default)) for key, default in _VIEW]
    # The set's own viewBox: resvg fails on filters inside a fractional one, so cropping happens on the bitmap.
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="{_RASTER}" '
        f'height="{_RASTER}" viewBox="{box[0]} {box[1]} {box[2]} {box[3]}">{icon["body"]}</svg>'
    )


_VIEW = (("left", 0), ("top", 0), ("width", 16), ("height", 16))


def rasterise(svg: str) -> Image.Image:
    """Draw an SVG as an RGBA bitmap."""
    import resvg_py

    return Image.open(io.BytesIO(bytes(resvg_py.svg_to_bytes(svg_string=svg)))).convert("RGBA")


def ink_box(picture: Image.Image, *, where: str) -> NDArray[np.uint8]:
    """Crop to the ink, centre it, and scale it to the common size.

    Raises:
        TrainingError: the picture is empty.
    """
    box = picture.getchannel("A").point(lambda value: 255 if value > 8 else 0).getbbox()
    if box is None:
        raise TrainingError("the drawing is empty", where=where)
    left, top, right, bottom = box
    side = round(max(right - left, bottom - top) * SIDE / _INK)
    square = Image.new("RGBA", (side, side), (0, 0, 0, 0))
    square.paste(picture, (-((left + right - side) // 2), -((top + bottom - side) // 2)))
    return np.array(square.resize((SIDE, SIDE), Image.Resampling.LANCZOS))
