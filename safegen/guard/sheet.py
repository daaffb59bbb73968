"""A contact sheet: the images of one result side by side, withheld ones as a grey field."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PIL import Image, ImageDraw

if TYPE_CHECKING:
    from safegen.guard.result import GeneratedImage, Generation

_SIDE = 192
_GAP = 8
_GREY = (214, 216, 220)


def contact_sheet(result: Generation) -> Image.Image:
    """One row for up to four images, then the next."""
    columns = min(4, len(result.images))
    rows = -(-len(result.images) // columns)
    sheet = Image.new("RGB", (columns * (_SIDE + _GAP) + _GAP, rows * (_SIDE + _GAP) + _GAP), "white")
    for image in result.images:
        row, column = divmod(image.index, columns)
        sheet.paste(_tile(image), (_GAP + column * (_SIDE + _GAP), _GAP + row * (_SIDE + _GAP)))
    return sheet


def _tile(image: GeneratedImage) -> Image.Image:
    if image.image is not None:
        return image.image.convert("RGB").resize((_SIDE, _SIDE), Image.Resampling.NEAREST)
    tile = Image.new("RGB", (_SIDE, _SIDE), _GREY)
    ImageDraw.Draw(tile).text((_SIDE // 2, _SIDE // 2), "withheld", fill=(90, 92, 98), anchor="mm")
    return tile
