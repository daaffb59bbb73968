"""Trains one SPM: erasing loss and Latent Anchoring, in rounds of one roll-out and several updates.

Invariants: all randomness comes from (recipe seed, round) and (recipe seed, update), and checkpoints lie between
rounds, so a resumed run equals an unbroken one bit for bit; the base model is never altered, membranes act through
hooks that are gone afterwards; each update makes one bare pass and one pass with the membranes open.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from safegen.models import TrainableModel
from safegen.training.recipe import Recipe
from safegen.training.released import ReleasedRun
from safegen.training.result import Trained, checkpoint_path, write_result
from safegen.training.run import DivergedError, Progress, Report, Run
from safegen.training.solve import Solution

__all__ = ["Progress", "Report", "train"]


def train(
    recipe: Recipe,
    base: TrainableModel,
    folder: Path,
    *,
    report: Report | None = None,
    save_seconds: float = 30.0,
    extra: Mapping[str, object] | None = None,
    start: Solution | None = None,
) -> Trained:
    """Run to the end, from the checkpoint if there is one, and write the SPM file.

    Args:
        recipe: what to train.
        base: the model to train on; its weights must be frozen.
        folder: the file becomes `<folder>/<recipe id>.safetensors`, checkpoints lie in `<folder>/checkpoints`.
        report: called after each update.
        save_seconds: seconds between checkpoints.
        extra: further metadata of the file.
        start: a solved SPM to begin with, where there is no checkpoint; None to begin with nothing.

    Raises:
        TrainingError: the checkpoint belongs to another recipe or base, or the losses are no longer finite.
        KeyboardInterrupt: as it came, after a checkpoint was saved.
    """
    run = ReleasedRun(recipe, base) if recipe.method == "released" else Run(recipe, base)
    if start is not None:
        run.start_from(start)
    path = checkpoint_path(recipe, folder)
    done, spent = run.restore(path)
    began = saved = time.monotonic()
    state = run.snapshot()
    try:
        while done < recipe.steps:
            done = run.round(done, report)
            state = run.snapshot()
            if time.monotonic() - saved >= save_seconds:
                run.save(path, done, spent + time.monotonic() - began)
                saved = time.monotonic()
        run.close()
    except KeyboardInterrupt:
        # The round under way is half done: go back to where it began.
        run.rewind(state)
        run.save(path, done, spent + time.monotonic() - began)
        raise
    except DivergedError as error:
        run.rewind(state)
        run.save(path, done, spent + time.monotonic() - began)
        hint = f"the state of update {done}, before that, is kept at {path}; lower `rate` or `eta` and train anew"
        raise DivergedError(error.message, where=error.where, hint=hint) from error
    trained = write_result(
        recipe,
        base,
        folder,
        run.membranes,
        run.losses,
        spent + time.monotonic() - began,
        eta=run.eta,
        anchor_weight=run.anchor_weight,
        extra={**({} if run.drift is None else {"drift": f"{run.drift:.4f}"}), **(extra or {})},
    )
    path.unlink(missing_ok=True)
    return trained
