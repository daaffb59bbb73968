"""What a run leaves behind: the SPM file with its metadata, and whether a recipe is finished already.

Invariant: the file's metadata states recipe and base by digest, so a file of another recipe is never taken for
this one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from safegen.errors import TrainingError
from safegen.models import TrainableModel
from safegen.spm import MembraneSet, read_spm, write_spm
from safegen.training.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Trained:
    """A finished SPM file.

    Attributes:
        path: where it lies.
        digest: of the file.
        seconds: that it took.
        erasing: what is left to erase: the loop's last erasing loss, or the share of the wanted change of the targets'
            keys and values that the closed form does not make.
        anchoring: what is changed at the anchors: the loop's last anchoring loss, or the closed form's drift.
    """

    path: Path
    digest: str
    seconds: float
    erasing: float
    anchoring: float


def result_path(recipe: Recipe, folder: Path) -> Path:
    """Where the SPM of a recipe goes."""
    return folder / f"{recipe.id}.safetensors"


def checkpoint_path(recipe: Recipe, folder: Path) -> Path:
    """Where the run of a recipe keeps its checkpoint."""
    return folder / "checkpoints" / f"{recipe.id}.safetensors"


def write_result(
    recipe: Recipe,
    base: TrainableModel,
    folder: Path,
    membranes: MembraneSet,
    losses: tuple[float, float],
    seconds: float,
    *,
    eta: float,
    anchor_weight: float,
    extra: Mapping[str, object] | None = None,
) -> Trained:
    """Write the SPM file.

    Args:
        recipe: what was trained.
        base: on which model.
        folder: where the file goes.
        membranes: what it holds.
        losses: erasing and anchoring, as `Trained` has them.
        seconds: that it took.
        eta: that was used.
        anchor_weight: lambda that was used.
        extra: further metadata, e.g. the calibration of the gate.
    """
    path = result_path(recipe, folder)
    metadata: dict[str, object] = {
        "prompts": ",".join(recipe.phrases),
        "rank": str(recipe.rank),
        "alpha": str(recipe.alpha),
        "concept": recipe.concept,
        "category": recipe.category,
        "surrogate": list(dict.fromkeys(surrogate for _, surrogate in recipe.pairs()))[:10],
        "method": recipe.method,
        "eta": f"{eta:g}",
        "lambda": f"{anchor_weight:g}",
        "steps": "0" if recipe.method == "closed-form" else str(recipe.steps),
        "seed": str(recipe.seed),
        "family": base.family,
        "base": recipe.base,
        "base_digest": base.digest,
        "recipe": recipe.model_dump(
            mode="json", exclude={"words", "anchors", "probes", "neighbours"}, exclude_defaults=True
        ),
        "recipe_digest": recipe.digest,
        "seconds": f"{seconds:.1f}",
        "erasing_loss": repr(losses[0]),
        "anchoring_loss": repr(losses[1]),
        "safegen": _release(),
        **(extra or {}),
    }
    digest = write_spm(path, membranes, metadata)
    return Trained(path, digest, seconds, *losses)


def finished(recipe: Recipe, base: TrainableModel, folder: Path) -> Trained | None:
    """The finished SPM of this very recipe and base, or None if there is no file yet.

    Raises:
        TrainingError: a file is there, and it is of another recipe or base.
        AdapterIntegrityError: the file is damaged.
    """
    path = result_path(recipe, folder)
    if not path.is_file():
        return None
    spm = read_spm(path)
    stated = spm.metadata.get("recipe_digest"), spm.metadata.get("base_digest")
    if stated != (recipe.digest, base.digest):
        raise TrainingError(
            "the SPM here was trained with another recipe or base model",
            where=str(path),
            hint="train it again with --force, or choose another folder with --out",
        )
    numbers = [float(spm.metadata[key]) for key in ("seconds", "erasing_loss", "anchoring_loss")]
    return Trained(path, spm.digest, *numbers)


def _release() -> str:
    try:
        return version("safegen")
    except PackageNotFoundError:
        return "unreleased"
