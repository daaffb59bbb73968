"""What an SPM does, to look at: targets and neighbours before and after, and the card that goes with the file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from safegen.models import DrawRequest
from safegen.spm import Attached, attach, read_spm
from safegen.training.losses import anchor_probabilities

if TYPE_CHECKING:
    from safegen.models import TrainableModel
    from safegen.training.recipe import Recipe
    from safegen.training.result import Trained

_TARGETS = 6
_NEAREST = 3
_SPREAD = 4
_SIDE = 128
"""Largest side of a tile, in pixels."""
_GAP = 4
_SEED = 1
_CANDIDATES = 200


def write_preview(recipe: Recipe, base: TrainableModel, trained: Trained, *, steps: int, guidance: float) -> None:
    """Write picture and card beside the SPM file.

    Args:
        recipe: what was trained.
        base: the model it was trained on.
        trained: the file.
        steps: denoising steps of the pictures.
        guidance: their scale of classifier-free guidance.
    """
    targets, neighbours = preview_prompts(recipe, base)
    sheet = draw_preview(base, trained.path, [*targets, *neighbours], steps=steps, guidance=guidance)
    sheet.save(trained.path.with_suffix(".png"))
    trained.path.with_suffix(".md").write_text(_card(recipe, trained, targets, neighbours), encoding="utf-8")


def preview_prompts(recipe: Recipe, base: TrainableModel) -> tuple[list[str], list[str]]:
    """Targets, evenly from the recipe's, and neighbours: the anchors nearest to them, and some evenly from the rest."""
    targets = _spread([target for target, _ in recipe.pairs()], _TARGETS)
    anchors = _spread(recipe.anchor_prompts(), _CANDIDATES)
    if not anchors:
        return targets, []
    distance = anchor_probabilities(base.encode(targets), base.encode(anchors), 1.0).mean(0)
    nearest = [anchors[index] for index in distance.argsort()[:_NEAREST].tolist()]
    return targets, [*nearest, *_spread([anchor for anchor in anchors if anchor not in nearest], _SPREAD)]


def draw_preview(base: TrainableModel, path: Path, prompts: list[str], *, steps: int, guidance: float) -> Image.Image:
    """A grid of two rows, one column a prompt: bare above, with the SPM at permeability 1 below."""
    spm = read_spm(path)
    side = min(base.size, _SIDE)
    sheet = Image.new("RGB", (len(prompts) * (side + _GAP) + _GAP, 2 * (side + _GAP) + _GAP), "white")
    seeds = (_SEED,) * len(prompts)
    request = DrawRequest(tuple(prompts), seeds, width=base.size, height=base.size, steps=steps, guidance=guidance)
    for row, gamma in enumerate((0.0, 1.0)):
        with attach(base.targets(), [Attached(spm, gamma, path.stem)]):
            images = base.draw(request).images
        for column, image in enumerate(images):
            tile = image.resize((side, side), Image.Resampling.LANCZOS)
            sheet.paste(tile, (_GAP + column * (side + _GAP), _GAP + row * (side + _GAP)))
    return sheet


def _spread(prompts: list[str], count: int) -> list[str]:
    """Up to `count` prompts, evenly from the list."""
    return [prompts[index * len(prompts) // count] for index in range(count)] if len(prompts) > count else prompts


def _card(recipe: Recipe, trained: Trained, targets: list[str], neighbours: list[str]) -> str:
    replaced, phrases = dict(recipe.pairs()), ", ".join(recipe.phrases)
    settings = (
        f"Rank {recipe.rank}, alpha {recipe.alpha:g}, eta {recipe.eta:g}, lambda {recipe.anchor_weight:g}, "
        f"{recipe.steps} updates of batch {recipe.batch}, seed {recipe.seed}, {trained.seconds:.0f} s. "
        f"Last losses: erasing {trained.erasing:.4f}, anchoring {trained.anchoring:.5f}."
    )
    lines = [
        f"# {recipe.id}",
        "",
        f"Erases the {recipe.category} **{recipe.concept}** ({phrases}) from the base `{recipe.base}`.",
        "",
        f"![bare above, erased below]({trained.path.stem}.png)",
        "",
        "Columns, each drawn bare (above) and with the SPM at permeability 1 (below), same seed:",
        "",
        *(f'{number}. target "{prompt}", to become "{replaced[prompt]}"' for number, prompt in enumerate(targets, 1)),
        *(f'{number}. neighbour "{prompt}"' for number, prompt in enumerate(neighbours, len(targets) + 1)),
        "",
        settings,
        "",
        f"Digest `{trained.digest}`. Format: safetensors with kohya's names, as the method's authors published.",
    ]
    return "\n".join(lines) + "\n"
