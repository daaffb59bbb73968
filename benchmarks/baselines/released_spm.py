"""SPM as its authors released it: their loop, their arithmetic, their gate (Con6924/SPM at 3dd762e, Apache-2.0).

Kept as released, where paper and code differ: one bare target phrase with "" as surrogate; x_t rolled out with the
membrane on, k in 1..29 of 30 steps, guidance 3; of four sampled anchors the loss sees the last two, each beside the
empty prompt; anchors are Gaussian on a sphere, not texts; AdamW at 1e-4, warm-up 500, cosine with three restarts; the
multiplier enters twice (once with `up`, once with `down`), so a permeability gamma acts as gamma squared, and several
adapters are added as state dicts, which makes cross terms; the gate is max(cosine of flattened states, token share).
Not kept: 8-bit AdamW (float32 here) and resolutions other than the base's.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

from safegen.models import BaseModel, DrawRequest, TrainableModel
from safegen.spm import Attached, MembraneSet, SpmFile, attach, read_spm, write_spm

if TYPE_CHECKING:
    from PIL.Image import Image

STEPS, RATE, WARM_UP, CYCLES, LAMBDA, ETA, ANCHORS, ROLLOUT, GUIDANCE = 3000, 1e-4, 500, 3, 1000.0, 1.0, 4, 30, 3.0


@dataclass(frozen=True)
class Budget:
    """How long to train; the defaults are the authors'.

    `halves`: run both halves of guidance in every pass, as released; the second has no gradient and does not reach the
    loss, so that leaving it out changes the time and nothing else.
    """

    steps: int = STEPS
    rate: float = RATE
    warm_up: int = WARM_UP
    halves: bool = True


class ReleasedLoop:
    """The released training loop, one update at a time."""

    def __init__(
        self, base: TrainableModel, target: str, budget: Budget, *, surrogate: str = "", seed: int = 0
    ) -> None:
        self.base, self.budget, self.done, self.seed = base, budget, 0, seed
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.membranes = MembraneSet(base.targets(), rank=1, alpha=1.0)
        self._optimiser = torch.optim.AdamW(self.membranes.parameters(), budget.rate)
        self._target, self._neutral, self._empty = (base.encode([text]) for text in (target, surrogate, ""))

    def update(self) -> tuple[float, float]:
        """One iteration; the erasing and the anchoring loss."""
        base, generator = self.base, torch.Generator().manual_seed(self.seed * 1_000_003 + self.done)
        last = int(torch.randint(1, ROLLOUT, (1,), generator=generator))
        timesteps = base.timesteps(ROLLOUT)
        latents = base.noise(1, generator)
        with torch.no_grad(), self.membranes.open(base.targets()):
            for timestep in timesteps[:last]:
                both = torch.cat([self._empty, self._target])
                empty, text = base.predict(latents.repeat(2, 1, 1, 1), timestep, both).chunk(2)
                latents = base.step(empty + GUIDANCE * (text - empty), timestep, latents)
        timestep = timesteps[last]
        anchors = torch.cat([self._empty, self._anchor(generator), self._empty, self._anchor(generator)])
        with torch.no_grad():
            positive = self._predict(latents, timestep, self._target)
            neutral = self._predict(latents, timestep, self._neutral)
            bare = self._predict(latents, timestep, anchors)
        with self.membranes.open(base.targets()):
            erased = self._predict(latents, timestep, self._target)
            anchored = self._predict(latents, timestep, anchors)
        erasing = F.mse_loss(erased, neutral - ETA * (positive - neutral))
        anchoring = F.mse_loss(anchored, bare)
        for group in self._optimiser.param_groups:
            group["lr"] = self.budget.rate * self._schedule()
        self._optimiser.zero_grad(set_to_none=True)
        (erasing + LAMBDA * anchoring).backward()
        self._optimiser.step()
        self.done += 1
        return float(erasing.detach()), float(anchoring.detach())

    def run(self, path: Path, report: Callable[[int], None] | None = None, every: int = 100) -> Path:
        """Train to the end and write the file; a killed run goes on from its checkpoint."""
        checkpoint = path.with_suffix(".checkpoint")
        if checkpoint.is_file():
            state = torch.load(checkpoint, weights_only=True)
            self.membranes.load_state_dict(state["membranes"])
            self._optimiser.load_state_dict(state["optimiser"])
            self.done = state["done"]
        while self.done < self.budget.steps:
            self.update()
            if self.done % every == 0:
                path.parent.mkdir(parents=True, exist_ok=True)
                state = {"membranes": self.membranes.state_dict(), "optimiser": self._optimiser.state_dict()}
                torch.save({**state, "done": self.done}, checkpoint)
                if report:
                    report(self.done)
        write_spm(path, self.membranes, {"prompts": "", "rank": "1", "alpha": "1.0"})
        return path

    def _predict(self, latents: torch.Tensor, timestep: int, states: torch.Tensor) -> torch.Tensor:
        rows = latents.expand(len(states), -1, -1, -1)
        if not self.budget.halves:
            return self.base.predict(rows, timestep, states)
        both = torch.cat([self._empty.expand_as(states), states])
        empty, text = self.base.predict(rows.repeat(2, 1, 1, 1), timestep, both).chunk(2)
        return empty + 1.0 * (text - empty)

    def _anchor(self, generator: torch.Generator) -> torch.Tensor:
        """A point on a sphere, accepted with probability 1 - cosine, of 0.8 to 1.2 times the target's length."""
        target = self._target.flatten()
        while True:
            point = torch.randn(target.shape, generator=generator)
            cosine = F.cosine_similarity(point[None], target[None]).item()
            if torch.rand(1, generator=generator).item() < 1 - cosine:
                break
        length = target.norm() * (0.8 + 0.4 * torch.rand(1, generator=generator).item())
        return (point / point.norm() * length).reshape(self._target.shape)

    def _schedule(self) -> float:
        """Linear warm-up, then cosine with hard restarts."""
        warm = min(self.budget.warm_up, self.budget.steps)
        if self.done < warm:
            return self.done / max(1, warm)
        progress = (self.done - warm) / max(1, self.budget.steps - warm)
        return 0.5 * (1 + math.cos(math.pi * ((CYCLES * progress) % 1.0)))


def seconds_per_update(base: TrainableModel, target: str, updates: int = 20) -> float:
    """Mean processor seconds of an update as released, both halves of guidance included, after one to warm up."""
    loop = ReleasedLoop(base, target, Budget())
    loop.update()
    began = time.process_time()
    for _ in range(updates):
        loop.update()
    return (time.process_time() - began) / updates


@dataclass(frozen=True)
class Released:
    """One adapter and the phrase that its gate compares with."""

    spm: SpmFile
    phrase: str


class ReleasedSpm:
    """Draws as the released script does: gate, then the sum of state dicts."""

    name = "SPM as released"

    def __init__(self, base: BaseModel, adapters: Sequence[Released]) -> None:
        self._base, self.adapters = base, tuple(adapters)
        self._states = [base.read([each.phrase])[0] for each in self.adapters]
        self._open: dict[str, tuple[float, ...]] = {}

    @classmethod
    def load(cls, base: BaseModel, files: Sequence[tuple[Path, str]]) -> ReleasedSpm:
        """From files and their phrases."""
        return cls(base, [Released(read_spm(path), phrase) for path, phrase in files])

    def gammas(self, states: torch.Tensor, tokens: Sequence[int]) -> tuple[float, ...]:
        """The gate: max(cosine of flattened states, share of the phrase's tokens) for each adapter, as released."""
        opened = []
        for own in self._states:
            cosine = F.cosine_similarity(states.flatten()[None], own.states.flatten()[None]).item()
            share = len(set(own.tokens) & set(tokens)) / max(1, len(set(own.tokens)))
            opened.append(max(cosine, share))
        return tuple(opened)

    def states(self, prompts: Sequence[str]) -> list[str]:
        """Digest and multiplier of each adapter; the released gate never closes."""
        found = []
        for reading in self._base.read(prompts):
            gammas = self.gammas(reading.states, reading.tokens)
            digests = [each.spm.digest for each in self.adapters]
            state = "released+" + "+".join(f"{d}@{g!r}" for d, g in zip(digests, gammas, strict=True))
            self._open[state] = gammas
            found.append(state)
        return found

    def draw(self, state: str, request: DrawRequest) -> Sequence[Image]:
        """Draw with the adapters summed as state dicts, each multiplied in twice."""
        pairs = zip(self.adapters, self._open[state], strict=True)
        attached = [Attached(each.spm, gamma, each.phrase) for each, gamma in pairs]
        with attach(self._base.targets(), attached, "released"):
            return self._base.draw(request).images
