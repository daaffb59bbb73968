"""What an SPM does, to look at: before and after, for targets and for anchors, and the card that goes with the file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from safegen.models import DrawRequest
from safegen.spm import Attached, attach, read_spm

if TYPE_CHECKING:
    from safegen.models import TrainableModel
    from safegen.training.loop import Trained
    from safegen.training.recipe import Recipe

_COLUMNS = 6
_SIDE = 128
_GAP = 4


def draw_preview(recipe: Recipe, model: TrainableModel, path: Path) -> Image.Image:
    """A grid: bare above, erased below; targets on the left half, anchors on the right half."""
    targets, anchors = [target for target, _ in recipe.pairs()], recipe.anchor_prompts()[1:]
    prompts = [*_spread(targets, _COLUMNS), *_spread(anchors, _COLUMNS)]
    spm = read_spm(path)
    rows = []
    for gamma in (0.0, 1.0):
        with attach(model.targets(), [Attached(spm, gamma, recipe.id)]):
            rows.append([model.draw(DrawRequest(prompt, seeds=(1,))).images[0] for prompt in prompts])
    size = (len(prompts) * (_SIDE + _GAP) + _GAP, 2 * (_SIDE + _GAP) + _GAP)
    sheet = Image.new("RGB", size, "white")
    for row, pictures in enumerate(rows):
        for column, picture in enumerate(pictures):
            tile = picture.resize((_SIDE, _SIDE), Image.Resampling.NEAREST)
            sheet.paste(tile, (_GAP + column * (_SIDE + _GAP), _GAP + row * (_SIDE + _GAP)))
    return sheet


def _spread(prompts: list[str], count: int) -> list[str]:
    """Up to `count` prompts, evenly from the list."""
    return [prompts[index * len(prompts) // count] for index in range(count)] if len(prompts) > count else prompts


def write_card(recipe: Recipe, trained: Trained) -> None:
    """Write the Markdown card beside the file."""
    lines = [
        f"# {recipe.id}",
        "",
        f"Erases the {recipe.category} **{recipe.concept}** ({', '.join(recipe.phrases)}) from the base `{recipe.base}`.",
        "",
        f"![bare above, erased below]({trained.path.stem}.png)",
        "",
        f"Rank {recipe.rank}, alpha {recipe.alpha:g}, eta {recipe.eta:g}, anchoring weight {recipe.anchor_weight:g}, "
        f"{recipe.rounds * recipe.rollout.uses} updates of batch {recipe.batch} in {trained.seconds:.0f} s; "
        f"final losses: erasing {trained.erasing:.3f}, anchoring {trained.anchoring:.5f}.",
        "",
        "Targets and what replaces them: "
        + "; ".join(f'"{target.prompt}" becomes "{target.surrogate}"' for target in recipe.targets)
        + ".",
        "",
        f"`{trained.digest}`",
        "",
        "Licence: Apache-2.0. Format: kohya names in safetensors, as the method's authors published.",
    ]
    trained.path.with_suffix(".md").write_text("\n".join(lines) + "\n", encoding="utf-8")
