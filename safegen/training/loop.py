"""Trains one SPM: erasing loss and Latent Anchoring, in rounds of one roll-out and several updates.

Invariants: all randomness of a round comes from (recipe seed, round), so a resumed run equals an unbroken one; the base
model is never altered, membranes act through hooks that are gone afterwards; each update makes one bare pass and one
pass with the membranes open.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import torch

from safegen.models import TrainableModel
from safegen.spm import MembraneSet, write_spm
from safegen.training import checkpoint
from safegen.training.losses import anchor_probabilities, anchoring_loss, erasing_loss
from safegen.training.recipe import Recipe
from safegen.training.rollout import roll_out

Report = Callable[[int, float, float], None]
_WARM_UP_ROUNDS = 5
_SAVE_SECONDS = 30.0


@dataclass(frozen=True)
class Trained:
    """A finished SPM file."""

    path: Path
    digest: str
    seconds: float
    erasing: float
    anchoring: float


class Trainer:
    """One run of one recipe on one base model."""

    def __init__(self, recipe: Recipe, model: TrainableModel, folder: Path) -> None:
        self.recipe, self.model = recipe, model
        self.path = folder / f"{recipe.id.rsplit('/', 1)[-1]}.safetensors"
        self._checkpoint = folder / "checkpoints" / self.path.name
        torch.manual_seed(recipe.seed)
        self.membranes = MembraneSet(model.targets(), rank=recipe.rank, alpha=recipe.alpha)
        self._optimiser = torch.optim.AdamW(self.membranes.parameters(), recipe.rate, weight_decay=0.0)
        pairs, anchors = recipe.pairs(), recipe.anchor_prompts()
        self._targets = model.encode([target for target, _ in pairs])
        self._surrogates = model.encode([surrogate for _, surrogate in pairs])
        self._anchors, self._empty = model.encode(anchors), model.encode([""])
        self._odds = anchor_probabilities(self._targets, self._anchors, recipe.anchor_alpha)

    def train(self, report: Report | None = None) -> Trained:
        """Run to the end, from the checkpoint if there is one, and write the SPM file.

        Args:
            report: called after each round with (rounds done, erasing loss, anchoring loss).

        Raises:
            TrainingError: the checkpoint belongs to another recipe.
        """
        models: dict[str, torch.nn.Module] = {"membranes": self.membranes}
        start = checkpoint.load(self._checkpoint, models=models, optimiser=self._optimiser)
        began = saved = time.monotonic()
        erased = anchored = math.nan
        done = start
        try:
            for done in range(start, self.recipe.rounds):
                erased, anchored = self._round(done)
                if report:
                    report(done + 1, erased, anchored)
                if time.monotonic() - saved > _SAVE_SECONDS:
                    checkpoint.save(self._checkpoint, step=done + 1, models=models, optimiser=self._optimiser)
                    saved = time.monotonic()
        except KeyboardInterrupt:
            # The round that was interrupted is thrown away: its updates are half done.
            raise
        seconds = time.monotonic() - began
        digest = write_spm(self.path, self.membranes, self._metadata(seconds))
        self._checkpoint.unlink(missing_ok=True)
        return Trained(self.path, digest, seconds, erased, anchored)

    def _round(self, number: int) -> tuple[float, float]:
        recipe = self.recipe
        generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + number)
        self._set_rate(number)
        rows = torch.randint(0, len(self._targets), (recipe.batch,), generator=generator)
        with self.membranes.open(self.model.targets()):
            trajectory = roll_out(self.model, self._targets[rows], self._empty, recipe.rollout, generator)
        losses = [0.0, 0.0]
        for _ in range(recipe.rollout.uses):
            timestep, latents = trajectory[int(torch.randint(0, len(trajectory), (1,), generator=generator))]
            anchors = torch.multinomial(self._odds[rows], 1, generator=generator)[:, 0]
            losses = self._update(latents, timestep, rows, anchors)
        return losses[0], losses[1]

    def _update(self, latents: torch.Tensor, timestep: int, rows: torch.Tensor, anchors: torch.Tensor) -> list[float]:
        recipe, model = self.recipe, self.model
        target, surrogate, anchor = self._targets[rows], self._surrogates[rows], self._anchors[anchors]
        with torch.no_grad():
            bare = model.predict(latents.repeat(3, 1, 1, 1), timestep, torch.cat([target, surrogate, anchor]))
        bare_target, bare_surrogate, bare_anchor = bare.chunk(3)
        with self.membranes.open(model.targets()):
            opened = model.predict(latents.repeat(2, 1, 1, 1), timestep, torch.cat([target, anchor]))
        erased, anchored = opened.chunk(2)
        erasing = erasing_loss(erased, bare_target, bare_surrogate, recipe.eta)
        anchoring = anchoring_loss(anchored, bare_anchor)
        self._optimiser.zero_grad(set_to_none=True)
        (erasing + recipe.anchor_weight * anchoring).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.membranes.parameters(), 1.0)
        self._optimiser.step()
        return [float(erasing.detach()), float(anchoring.detach())]

    def _set_rate(self, number: int) -> None:
        """Linear warm-up, then cosine to a twentieth."""
        warm = min(1.0, (number + 1) / _WARM_UP_ROUNDS)
        cosine = 0.5 * (1 + math.cos(math.pi * number / self.recipe.rounds))
        for group in self._optimiser.param_groups:
            group["lr"] = self.recipe.rate * warm * max(0.05, cosine)

    def _metadata(self, seconds: float) -> dict[str, object]:
        recipe = self.recipe
        return {
            "prompts": ",".join(recipe.phrases),
            "rank": str(recipe.rank),
            "alpha": str(recipe.alpha),
            "concept": recipe.concept,
            "category": recipe.category,
            "family": self.model.family,
            "base": recipe.base,
            "base_digest": self.model.digest,
            "recipe": recipe.model_dump(mode="json", exclude={"words", "anchors"}),
            "seconds": f"{seconds:.0f}",
            "safegen": version("safegen"),
        }
