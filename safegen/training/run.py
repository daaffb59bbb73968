"""The state of one run of the loop: membranes, optimiser and texts, and what one round does with them.

Invariant: all randomness comes from (recipe seed, round) and (recipe seed, update), and rounds are taken in order, so
a state and the number of updates done determine what follows, bit for bit.
"""

from __future__ import annotations

import copy
import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from safegen.errors import TrainingError
from safegen.models import TrainableModel
from safegen.spm import MembraneSet
from safegen.training import checkpoint
from safegen.training.adversarial import attack, attacked_rows
from safegen.training.budget import AnchorBudget, Point, weaken
from safegen.training.losses import anchor_probabilities, anchoring_loss, erasing_loss, with_empty_anchor
from safegen.training.reading import TEXTS_AT_ONCE, read_all, refuse_truncated
from safegen.training.recipe import Recipe
from safegen.training.rollout import roll_out
from safegen.training.solve import Solution

ETA = 1.0
"""The paper's eta, where a recipe states none."""
_FIRST_WEIGHT = 10.0
"""Lambda before the first update, where a budget finds it."""
_CLOSING = 6
"""Time steps at which the drift of a finished run is measured."""
_WARM_UP = 30
_LEAST_RATE = 0.05
_CLIP = 1.0


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run stands: updates done, of how many, and the last update's losses, learning rate and lambda."""

    done: int
    steps: int
    erasing: float
    anchoring: float
    rate: float
    anchor_weight: float


Report = Callable[[Progress], None]


class DivergedError(TrainingError):
    """The losses are no longer finite."""

    code = "training.diverged"


class Run:
    """A run of the loop as this package trains.

    Attributes:
        membranes: under training.
        eta: in force.
        losses: of the last update, erasing and anchoring.
        drift: relative change of the anchors' predictions, as `close` measured it; None where no budget was set.
    """

    def __init__(self, recipe: Recipe, base: TrainableModel) -> None:
        self.recipe, self.base = recipe, base
        self.eta = ETA if recipe.eta is None else recipe.eta
        self.losses = (math.nan, math.nan)
        self.drift: float | None = None
        stated = recipe.anchor_weight
        self._budget = AnchorBudget(recipe.drift, _FIRST_WEIGHT) if stated == "budget" else None
        self._stated_weight = 0.0 if stated == "budget" else stated
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            self.membranes = MembraneSet(base.targets(), rank=recipe.rank, alpha=recipe.alpha)
        self._empty = base.encode([""])
        # Drawn on the CPU, like all that is random, and moved to where the denoiser runs.
        self.membranes.to(self._empty.device)
        self._optimiser = torch.optim.AdamW(self.membranes.parameters(), recipe.rate, weight_decay=0.0)
        pairs = recipe.pairs()
        texts = list(dict.fromkeys(text for pair in pairs for text in pair))
        refuse_truncated(texts, read_all(base, texts, padding=False))
        states = _encode(base, texts)
        self._targets = states[[texts.index(target) for target, _ in pairs]]
        self._surrogates = states[[texts.index(surrogate) for _, surrogate in pairs]]
        prompts = recipe.anchor_prompts()
        anchors = _encode(base, prompts) if prompts else self._empty[:0]
        odds = anchor_probabilities(self._targets, anchors, recipe.anchor_alpha)
        with_empty = recipe.anchor_empty or not prompts
        self._anchors = torch.cat([self._empty, anchors]) if with_empty else anchors
        self._odds = (with_empty_anchor(odds) if with_empty else odds).cpu()

    @property
    def anchor_weight(self) -> float:
        """Lambda in force."""
        return self._budget.weight if self._budget else self._stated_weight

    def start_from(self, solution: Solution) -> None:
        """Begin with solved membranes; those of other layers begin with nothing, as ever."""
        solved = dict(solution.membranes.items())
        with torch.no_grad():
            for name, membrane in self.membranes.items():
                if name in solved:
                    membrane.down.copy_(solved[name].down)
                    membrane.up.copy_(solved[name].up)

    def restore(self, path: Path) -> tuple[int, float]:
        """Load the checkpoint if there is one; updates done and seconds spent."""
        if not path.is_file():
            return 0, 0.0
        numbers = _numbers(path)
        if numbers.get("recipe") != self.recipe.digest or numbers.get("base") != self.base.digest:
            raise TrainingError(
                "the checkpoint was made with another recipe or base model",
                where=str(path),
                hint="delete it to start anew, or go on with the recipe and base it was made with",
            )
        done = checkpoint.load(path, models={"membranes": self.membranes}, optimiser=self._optimiser)
        self.losses = numbers["losses"][0], numbers["losses"][1]
        if self._budget:
            self._budget.state = numbers["budget"][0], numbers["budget"][1]
        return done, float(numbers["seconds"])

    def save(self, path: Path, done: int, seconds: float) -> None:
        """Write the checkpoint."""
        checkpoint.save(
            path,
            step=done,
            models={"membranes": self.membranes},
            optimiser=self._optimiser,
            recipe=self.recipe.digest,
            base=self.base.digest,
            losses=self.losses,
            budget=self._budget.state if self._budget else None,
            seconds=seconds,
        )

    def snapshot(self) -> tuple[Any, Any, tuple[float, float] | None]:
        """A copy of everything that updates change."""
        kept = self._budget.state if self._budget else None
        return copy.deepcopy((self.membranes.state_dict(), self._optimiser.state_dict(), kept))

    def rewind(self, state: tuple[Any, Any, tuple[float, float] | None]) -> None:
        """Go back to a copy."""
        self.membranes.load_state_dict(state[0])
        self._optimiser.load_state_dict(state[1])
        if self._budget and state[2]:
            self._budget.state = state[2]

    def close(self) -> None:
        """Measure the drift after the last update and, where the budget is not met, weaken the membranes until it is.

        Measured on anchors drawn as in training, at time steps of a roll-out of its own. Without a budget, nothing.
        """
        if self._budget is None:
            return
        self.drift = weaken(self.base, self.membranes, self._closing_points(), self.recipe.drift)

    @torch.no_grad()
    def _closing_points(self) -> list[Point]:
        recipe = self.recipe
        generator = generator_of(recipe.seed, "closing", 0)
        rows = torch.randint(0, len(self._targets), (recipe.batch,), generator=generator)
        wanted = torch.randperm(recipe.rollout.steps, generator=generator)[:_CLOSING].tolist()
        with self.membranes.open(self.base.targets()):
            states = roll_out(self.base, self._targets[rows], self._empty, recipe.rollout, generator, wanted)
        return [
            (*states[number], self._anchors[torch.multinomial(self._odds[rows], 1, generator=generator)[:, 0]])
            for number in wanted
        ]

    def round(self, first: int, report: Report | None) -> int:
        """One roll-out and its updates; the number of updates done then."""
        recipe = self.recipe
        uses = min(recipe.rollout.uses, recipe.steps - first)
        generator = generator_of(recipe.seed, "round", first // recipe.rollout.uses)
        rows = torch.randint(0, len(self._targets), (recipe.batch,), generator=generator)
        wanted = torch.randperm(recipe.rollout.steps, generator=generator)[:uses].tolist()
        with self.membranes.open(self.base.targets()):
            states = roll_out(self.base, self._targets[rows], self._empty, recipe.rollout, generator, wanted)
        for step, number in enumerate(wanted, start=first):
            rate = self._set_rate(step)
            timestep, latents = states[number]
            drawn = generator_of(recipe.seed, "update", step)
            anchors = torch.multinomial(self._odds[rows], 1, generator=drawn)[:, 0]
            self.losses = self._update(latents, timestep, rows, anchors, step)
            if not math.isfinite(sum(self.losses)):
                raise DivergedError(f"the losses are not finite at update {step + 1}", where=recipe.id)
            if report:
                report(Progress(step + 1, recipe.steps, *self.losses, rate, self.anchor_weight))
        return first + uses

    def _update(
        self, latents: torch.Tensor, timestep: int, rows: torch.Tensor, anchors: torch.Tensor, step: int
    ) -> tuple[float, float]:
        recipe, base = self.recipe, self.base
        target, surrogate, anchor = self._targets[rows], self._surrogates[rows], self._anchors[anchors]
        with torch.no_grad():
            bare = base.predict(latents.repeat(3, 1, 1, 1), timestep, torch.cat([target, surrogate, anchor]))
        bare_target, bare_surrogate, bare_anchor = bare.chunk(3)
        with self.membranes.open(base.targets()):
            if recipe.adversarial:
                count = attacked_rows(len(rows), recipe.adversarial.share)
                target = attack(
                    lambda states: base.predict(latents[:count], timestep, states),
                    target,
                    bare_target,
                    recipe.adversarial,
                    generator_of(recipe.seed, "attack", step),
                )
            opened = base.predict(latents.repeat(2, 1, 1, 1), timestep, torch.cat([target, anchor]))
        erased, anchored = opened.chunk(2)
        erasing = erasing_loss(erased, bare_target, bare_surrogate, self.eta)
        anchoring = anchoring_loss(anchored, bare_anchor)
        self._optimiser.zero_grad(set_to_none=True)
        (erasing + self.anchor_weight * anchoring).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.membranes.parameters(), _CLIP)
        self._optimiser.step()
        if self._budget:
            self._budget.observe(float(anchoring.detach() / bare_anchor.square().mean()))
        return float(erasing.detach()), float(anchoring.detach())

    def _set_rate(self, step: int) -> float:
        """Linear warm-up, then cosine to a twentieth."""
        warm = min(1.0, (step + 1) / min(_WARM_UP, self.recipe.steps))
        cosine = 0.5 * (1 + math.cos(math.pi * step / self.recipe.steps))
        rate = self.recipe.rate * warm * max(_LEAST_RATE, cosine)
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        return rate


def _encode(base: TrainableModel, texts: list[str]) -> torch.Tensor:
    return torch.cat([base.encode(texts[at : at + TEXTS_AT_ONCE]) for at in range(0, len(texts), TEXTS_AT_ONCE)])


def generator_of(seed: int, kind: str, number: int) -> torch.Generator:
    """A generator of its own for each round and each update."""
    digest = hashlib.sha256(f"{seed}/{kind}/{number}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big", signed=True))


def _numbers(path: Path) -> dict[str, Any]:
    try:
        return checkpoint.read_numbers(path)
    except Exception as error:
        raise TrainingError(
            f"the checkpoint is damaged: {error}", where=str(path), hint="delete it to start anew"
        ) from error
