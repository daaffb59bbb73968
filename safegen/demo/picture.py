"""Draws the demonstration as one picture: a card for each prompt, bare left, safegen right."""

from __future__ import annotations

from PIL import Image, ImageDraw, ImageFont

from safegen.demo.scenario import Demonstration, Shown

_TILE, _GAP, _PAD = 168, 10, 14
_COLUMNS = 4
_CARD = (2 * _TILE + _GAP + 2 * _PAD, _TILE + 104)
_HEAD, _FOOT = 118, 74
_INK, _MUTED, _LINE, _PAPER = (24, 28, 36), (104, 110, 122), (224, 227, 233), (246, 247, 250)
COLOURS = {"released": (22, 130, 74), "refused": (190, 38, 52), "withheld": (176, 110, 8)}


def draw(demonstration: Demonstration) -> Image.Image:
    """The whole sheet."""
    rows = -(-len(demonstration.shown) // _COLUMNS)
    width = _COLUMNS * (_CARD[0] + _GAP) + _GAP + 2 * _PAD
    height = _HEAD + rows * (_CARD[1] + _GAP) + _FOOT
    sheet = Image.new("RGB", (width, height), _PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((24, 20), "safegen", font=_font(34), fill=_INK)
    pen.text(
        (24, 66),
        "One policy: forbidden concepts are erased inside the model, every image is reviewed, "
        "every step is in a signed ledger.",
        font=_font(19),
        fill=_MUTED,
    )
    pen.text(
        (24, 92),
        f"Left: the bare model. Right: the same seed under policy {demonstration.policy}.",
        font=_font(16),
        fill=_MUTED,
    )
    for index, shown in enumerate(demonstration.shown):
        row, column = divmod(index, _COLUMNS)
        sheet.paste(_card(shown), (_PAD + _GAP + column * (_CARD[0] + _GAP), _HEAD + row * (_CARD[1] + _GAP)))
    _footer(pen, demonstration, height)
    return sheet


def _card(shown: Shown) -> Image.Image:
    card = Image.new("RGB", _CARD, "white")
    pen = ImageDraw.Draw(card)
    pen.rectangle((0, 0, _CARD[0] - 1, _CARD[1] - 1), outline=_LINE)
    pen.text((_PAD, 10), shown.kind.upper(), font=_font(12), fill=_MUTED)
    pen.text((_PAD, 27), _cut(shown.prompt, 44), font=_font(16), fill=_INK)
    top = 54
    card.paste(_scaled(shown.bare), (_PAD, top))
    released = shown.result.released
    right = (_PAD + _TILE + _GAP, top)
    card.paste(_scaled(released[0].image) if released else _empty(shown.result.outcome), right)
    outcome = shown.result.outcome
    pen.rounded_rectangle((_PAD, top + _TILE + 10, _PAD + 82, top + _TILE + 32), 5, fill=COLOURS[outcome])
    pen.text((_PAD + 41, top + _TILE + 21), outcome, font=_font(13), fill="white", anchor="mm")
    pen.text((_PAD + 92, top + _TILE + 13), _cut(shown.why, 42), font=_font(13), fill=_INK)
    return card


def _footer(pen: ImageDraw.ImageDraw, demonstration: Demonstration, height: int) -> None:
    report = demonstration.report
    state = "verified with the public key alone" if report.ok else f"{len(report.problems)} PROBLEMS"
    text = f"ledger: {report.size} entries {state}, signed head {report.root[:24]}..."
    pen.text((24, height - 60), text, font=_font(18), fill=COLOURS["released"] if report.ok else COLOURS["refused"])
    pen.text(
        (24, height - 34),
        f"{len(demonstration.shown)} prompts in {demonstration.seconds:.0f} s on this machine's CPU",
        font=_font(14),
        fill=_MUTED,
    )


def _scaled(picture: Image.Image | None) -> Image.Image:
    if picture is None:
        return Image.new("RGB", (_TILE, _TILE), _LINE)
    return picture.convert("RGB").resize((_TILE, _TILE), Image.Resampling.LANCZOS)


def _empty(outcome: str) -> Image.Image:
    tile = Image.new("RGB", (_TILE, _TILE), (236, 238, 242))
    ImageDraw.Draw(tile).text((_TILE // 2, _TILE // 2), outcome, font=_font(18), fill=_MUTED, anchor="mm")
    return tile


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
