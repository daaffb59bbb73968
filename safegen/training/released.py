"""The loop as the method's authors released it, faults included, for comparison.

What differs from the paper and from `run.Run`, read in the released code (Con6924/SPM at 3dd762e): predictions run
both halves of classifier-free guidance at scale 1, where the unconditional half has no gradient; four anchors are drawn
as normalised noise instead of texts, accepted with a probability that is nearly always 1; they are interleaved with
the empty prompt and split as if they were not, so that two of the four are never used and half of Latent Anchoring
holds the empty prompt; each roll-out, with the SPM open, serves one update. AdamW stands for its 8-bit form, and the
random resolution (256 to 448 pixels) is left out.
"""

from __future__ import annotations

import math

import torch
from torch.nn import functional as F

from safegen.errors import TrainingError
from safegen.models import TrainableModel
from safegen.training.losses import anchoring_loss, erasing_loss
from safegen.training.recipe import Recipe
from safegen.training.rollout import roll_out
from safegen.training.run import DivergedError, Progress, Report, Run, generator_of

_ANCHORS = 4
_WARM_UP = 500
_CYCLES = 3


class ReleasedRun(Run):
    """A run of the released loop: one target, one surrogate, batch 1, its own learning rate schedule."""

    def __init__(self, recipe: Recipe, base: TrainableModel) -> None:
        for field, stated in (("adversarial", recipe.adversarial), ("anchor_weight", recipe.anchor_weight == "budget")):
            if stated:
                raise TrainingError(
                    f"the released loop knows nothing of what `{field}` asks for",
                    where=recipe.id,
                    hint="leave it out, or train with `method: loop`",
                )
        super().__init__(recipe, base)
        self._target, self._surrogate = self._targets[:1], self._surrogates[:1]

    def round(self, first: int, report: Report | None) -> int:
        """One roll-out and its one update."""
        recipe = self.recipe
        generator = generator_of(recipe.seed, "round", first)
        number = int(torch.randint(1, max(2, recipe.rollout.steps), (1,), generator=generator))
        number = min(number, recipe.rollout.steps - 1)
        with self.membranes.open(self.base.targets()):
            states = roll_out(self.base, self._target, self._empty, recipe.rollout, generator, [number])
        rate = self._set_rate(first)
        timestep, latents = states[number]
        self.losses = self._released_update(latents, timestep, noise_anchors(self._target, _ANCHORS, generator))
        if not math.isfinite(sum(self.losses)):
            raise DivergedError(f"the losses are not finite at update {first + 1}", where=recipe.id)
        if report:
            report(Progress(first + 1, recipe.steps, *self.losses, rate, self.anchor_weight))
        return first + 1

    def _released_update(self, latents: torch.Tensor, timestep: int, anchors: torch.Tensor) -> tuple[float, float]:
        repeated = latents.repeat(_ANCHORS, 1, 1, 1)
        interleaved = torch.stack([self._empty.expand_as(anchors), anchors], dim=1).flatten(0, 1)
        with torch.no_grad():
            positive = self._both_halves(latents, timestep, torch.cat([self._empty, self._target]))
            neutral = self._both_halves(latents, timestep, torch.cat([self._empty, self._surrogate]))
            bare = self._both_halves(repeated, timestep, interleaved)
        with self.membranes.open(self.base.targets()):
            erased = self._both_halves(latents, timestep, torch.cat([self._empty, self._target]))
            anchored = self._both_halves(repeated, timestep, interleaved)
        erasing = erasing_loss(erased, positive, neutral, self.eta)
        anchoring = anchoring_loss(anchored, bare)
        self._optimiser.zero_grad(set_to_none=True)
        (erasing + self.anchor_weight * anchoring).backward()  # type: ignore[no-untyped-call]
        self._optimiser.step()
        return float(erasing.detach()), float(anchoring.detach())

    def _both_halves(self, latents: torch.Tensor, timestep: int, states: torch.Tensor) -> torch.Tensor:
        """Guidance at scale 1 over states that are split in the middle, whatever their order."""
        first, second = self.base.predict(torch.cat([latents, latents]), timestep, states).chunk(2)
        return first + (second - first)

    def _set_rate(self, step: int) -> float:
        """Linear warm-up, then cosine with hard restarts."""
        warm_up = min(_WARM_UP, self.recipe.steps // 6)
        if step < warm_up:
            factor = step / warm_up
        else:
            progress = (step - warm_up) / max(1, self.recipe.steps - warm_up)
            factor = 0.5 * (1 + math.cos(math.pi * (_CYCLES * progress % 1.0)))
        rate = self.recipe.rate * factor
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        return rate


def noise_anchors(target: torch.Tensor, count: int, generator: torch.Generator) -> torch.Tensor:
    """Anchors as the released code draws them: noise of about the target's length, kept with probability 1 - cosine.

    Args:
        target: (1, tokens, width) states of the target.
        count: how many.
        generator: of the noise.

    Returns:
        (count, tokens, width).
    """
    flat = target.flatten().cpu()
    kept: list[torch.Tensor] = []
    while len(kept) < count:
        noise = F.normalize(torch.randn(flat.shape, generator=generator), dim=0)
        length = 0.8 + 0.4 * torch.rand((), generator=generator)
        if torch.rand((), generator=generator) < 1 - F.cosine_similarity(noise, flat, dim=0):
            kept.append((noise * length * flat.norm()).reshape(target.shape[1:]))
    return torch.stack(kept).to(target.device)
