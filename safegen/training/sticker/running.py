"""What the recipe's training steps share: a seeded, resumable loop with a running average of the weights.

Invariant: all randomness of a step comes from (seed, step), so that a run that was killed and resumed draws the same
batches as one that was not.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog
import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import nn

from safegen.training import checkpoint

_log = structlog.get_logger("safegen.training")
_LOG_EVERY = 100


@dataclass(frozen=True, slots=True)
class Schedule:
    """Learning rate over a run: linear warm-up, flat, cosine to almost zero over the last part."""

    rate: float
    steps: int
    warm_up: int = 100
    flat: float = 0.3

    def factor(self, step: int) -> float:
        """Factor of the peak rate at `step`, in 0..1."""
        warm = min(1.0, (step + 1) / self.warm_up)
        done = step / self.steps
        if done <= self.flat:
            return warm
        return warm * (0.5 * (1 + math.cos(math.pi * (done - self.flat) / (1 - self.flat))) + 0.005)


@dataclass
class Average:
    """Exponential moving average of a model's weights, with a decay that grows to its limit."""

    model: nn.Module
    limit: float
    shadow: Any = field(init=False)

    def __post_init__(self) -> None:
        self.shadow = copy.deepcopy(self.model).eval().requires_grad_(requires_grad=False)

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move the average towards the current weights."""
        decay = min(self.limit, (1 + step) / (10 + step))
        ours = [parameter.data for parameter in self.shadow.parameters()]
        theirs = [parameter.data for parameter in self.model.parameters()]
        torch._foreach_lerp_(ours, theirs, 1 - decay)
        for mine, live in zip(self.shadow.buffers(), self.model.buffers(), strict=True):
            mine.copy_(live)


@dataclass
class Run:
    """One resumable training run.

    Attributes:
        path: the checkpoint file.
        models: what is trained, by name; each gets a running average.
        optimiser: over all their parameters; each group's `lr` is its peak rate.
        schedule: the learning rate and the number of steps.
        decay: limit of the running averages' decay.
    """

    path: Path
    models: dict[str, nn.Module]
    optimiser: torch.optim.Optimizer
    schedule: Schedule
    seed: int = 0
    decay: float = 0.999
    save_every: float = 120.0

    def __post_init__(self) -> None:
        self.averages = {name: Average(model, self.decay) for name, model in self.models.items()}
        self.peaks = [group["lr"] for group in self.optimiser.param_groups]

    def _all(self) -> dict[str, nn.Module]:
        return self.models | {f"average-{name}": average.shadow for name, average in self.averages.items()}

    def save(self, step: int) -> None:
        """Write the checkpoint."""
        checkpoint.save(self.path, step=step, models=self._all(), optimiser=self.optimiser)

    def go(
        self,
        loss_of: Callable[[torch.Generator, int], torch.Tensor],
        *,
        title: str,
        preview: Callable[[int], None] | None = None,
        preview_every: float = 600.0,
    ) -> None:
        """Train to the schedule's end, from the checkpoint if there is one.

        Args:
            loss_of: the loss of one step, given the step's own generator and its number.
            title: shown on the progress bar.
            preview: called now and then with the step, to draw what the average has learnt.
            preview_every: seconds between previews.
        """
        start = checkpoint.load(self.path, models=self._all(), optimiser=self.optimiser)
        saved = shown = time.monotonic()
        steps = range(start, self.schedule.steps)
        mean = 0.0
        for step, bar in _bar(steps, title):
            value = self._step(loss_of, step)
            mean = value if step == start else 0.98 * mean + 0.02 * value
            bar(mean)
            if step % _LOG_EVERY == 0:
                _log.info("training", run=title, step=step, loss=round(mean, 4))
            if time.monotonic() - saved > self.save_every:
                self.save(step + 1)
                saved = time.monotonic()
            if preview and time.monotonic() - shown > preview_every:
                preview(step + 1)
                shown = time.monotonic()
        self.save(self.schedule.steps)
        if preview:
            preview(self.schedule.steps)

    def _step(self, loss_of: Callable[[torch.Generator, int], torch.Tensor], step: int) -> float:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        factor = self.schedule.factor(step)
        for group, peak in zip(self.optimiser.param_groups, self.peaks, strict=True):
            group["lr"] = peak * factor
        loss = loss_of(generator, step)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call] # torch leaves it untyped
        for model in self.models.values():
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        self.optimiser.step()
        for average in self.averages.values():
            average.update(step)
        return float(loss.detach())


def _bar(steps: range, title: str) -> Iterator[tuple[int, Callable[[float], None]]]:
    """The steps under a progress bar, each with a function that shows the mean loss."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as progress:
        task = progress.add_task(title, total=steps.stop, completed=steps.start)
        for step in steps:
            yield step, lambda mean: progress.update(task, advance=1, description=f"{title} loss {mean:.4f}")
