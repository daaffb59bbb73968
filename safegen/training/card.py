"""The model card of an SPM, and its picture: targets and neighbours, bare above and erased below.

Invariant: a card states what its file's metadata states, and what was measured; nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import Image

from safegen.training.effect import Drawn, Effect, Plan
from safegen.training.result import Trained

if TYPE_CHECKING:
    from safegen.spm import SpmFile
    from safegen.training.recipe import Recipe

PICTURE = ".webp"
_TARGETS, _NEIGHBOURS = 4, 2
_SIDE = 128
"""Largest side of a tile, in pixels."""
_GAP = 2
_QUALITY = 75


def write_card(
    recipe: Recipe, trained: Trained, spm: SpmFile, wanted: Plan, drawn: tuple[Drawn, Drawn], effect: Effect | None
) -> None:
    """Write picture and card beside the SPM file.

    Args:
        recipe: what was trained.
        trained: the file.
        spm: its content.
        wanted: what was drawn.
        drawn: bare, and with the membrane open.
        effect: what was measured on them; None if nobody judged.
    """
    columns = _columns(wanted)
    _sheet(*drawn, columns).save(trained.path.with_suffix(PICTURE), quality=_QUALITY, method=6)
    text = "\n".join(_lines(recipe, trained, spm, wanted, columns, effect))
    trained.path.with_suffix(".md").write_text(text + "\n", encoding="utf-8")


@dataclass(frozen=True)
class _Column:
    prompt: str
    bare: int
    opened: int
    """Number of the picture among those of each kind."""


def _columns(wanted: Plan) -> list[_Column]:
    """Which pictures are shown: targets, trained on and unseen, and neighbours."""
    some, count = len(wanted.before), len(wanted.targets)
    shown = min(_TARGETS, some)
    numbers = [number * (some - 1) // max(1, shown - 1) for number in range(shown)]
    columns = [
        _Column(wanted.before[number][0], number, wanted.targets.index(wanted.before[number])) for number in numbers
    ]
    near = enumerate(wanted.neighbours[:_NEIGHBOURS])
    return columns + [_Column(prompt, some + number, count + number) for number, (prompt, _) in near]


def _sheet(bare: Drawn, opened: Drawn, columns: list[_Column]) -> Image.Image:
    side = min(bare.pictures[0].width, _SIDE)
    step = side + _GAP
    sheet = Image.new("RGB", (len(columns) * step - _GAP, 2 * step - _GAP), "white")
    for place, column in enumerate(columns):
        for row, tile in enumerate((bare.pictures[column.bare], opened.pictures[column.opened])):
            fitted = tile if tile.width == side else tile.resize((side, side), Image.Resampling.LANCZOS)
            sheet.paste(fitted, (place * step, row * step))
    return sheet


def _lines(
    recipe: Recipe, trained: Trained, spm: SpmFile, wanted: Plan, columns: list[_Column], effect: Effect | None
) -> list[str]:
    replaced = dict(recipe.pairs())
    near = {prompt for prompt, _ in wanted.neighbours}
    shown = [f'- "{column.prompt}": {_role(column.prompt, near, replaced)}' for column in columns]
    phrases, stated = ", ".join(recipe.phrases), spm.metadata
    settings = (
        f"Method {recipe.method}, rank {recipe.rank}, eta {stated.get('eta')}, lambda {stated.get('lambda')}, "
        f"{spm.parameters:,} values, {trained.seconds:.1f} s. {_outcome(recipe, trained)}"
    )
    return [
        f"# {recipe.id}",
        "",
        f"Erases the {recipe.category} **{recipe.concept}** ({phrases}) from the base `{recipe.base}`.",
        "",
        f"![bare above, erased below]({trained.path.with_suffix(PICTURE).name})",
        "",
        "From left to right, bare above and with the membrane fully open below, same seed:",
        "",
        *shown,
        "",
        *_measured(effect),
        settings,
        "",
        f"Digest `{trained.digest}`. Licence Apache-2.0.",
    ]


def _role(prompt: str, near: set[str], replaced: dict[str, str]) -> str:
    if prompt in near:
        return "neighbour"
    return f'target, to become "{replaced[prompt]}"' if prompt in replaced else "target, not trained on"


def _measured(effect: Effect | None) -> list[str]:
    if effect is None:
        return []
    kept = None if effect.neighbours_change is None else 1 + effect.neighbours_change
    rows = [
        (f"target recognised, bare ({effect.pictures_before} pictures)", effect.target_before),
        (f"target recognised, erased ({effect.pictures})", effect.target_after),
        ("the same on prompts that training never saw", effect.unseen_after),
        ("content kept", effect.content_kept),
        ("neighbours kept, which a gate would not even touch", kept),
    ]
    return [
        f"| measured by the judge on pictures of {effect.picture_steps} steps | share |",
        "|---|---|",
        *(f"| {name} | {share:.0%} |" for name, share in rows if share is not None),
        "",
    ]


def _outcome(recipe: Recipe, trained: Trained) -> str:
    if recipe.method == "closed-form":
        reached = f"{1 - trained.erasing:.0%} of the wanted change of the target's keys and values is made"
        return f"{reached}, the anchors' change by {trained.anchoring:.1%} (budget {recipe.drift:.0%})."
    return f"Last losses: erasing {trained.erasing:.4f}, anchoring {trained.anchoring:.5f}."
