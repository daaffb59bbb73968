"""What attacks minimise: the denoiser's loss on pictures of the erased concept, through gate and membranes.

Source: UnlearnDiffAtk (Zhang et al. 2024, arXiv 2310.11868, Eq. 4): the attacked model itself is the classifier.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from safegen.evaluation.attacks.defence import Defence

if TYPE_CHECKING:
    from PIL.Image import Image

    from safegen.models.white_box import WhiteBox


@dataclass(frozen=True)
class Drawn:
    """How pictures are drawn to judge an attack."""

    steps: int = 20
    guidance: float = 3.0


class Objective:
    """The loss on reference pictures, one row of states a reference."""

    def __init__(self, box: WhiteBox, references: Sequence[Image], defence: Defence, seed: int) -> None:
        self.box, self.defence = box, defence
        self._latents = box.latents(references)
        self._seed = seed

    def __len__(self) -> int:
        return len(self._latents)

    def loss(
        self,
        states: torch.Tensor,
        step: int,
        rows: Sequence[int] | None = None,
        tokens: Sequence[Sequence[int]] | None = None,
    ) -> torch.Tensor:
        """Squared error of each row's prediction, at one time step and noise a row, the same for one `step`: (rows,).

        Args:
            states: (rows, tokens, width).
            step: number of the attack's step; it decides times and noises.
            rows: the reference of each row of states; each its own by default.
            tokens: ids behind the states, where there are any.
        """
        which = torch.arange(len(self)) if rows is None else torch.as_tensor(rows)
        generator = torch.Generator().manual_seed(self._seed * 1_000_003 + step)
        timesteps = torch.randint(self.box.steps // 10, self.box.steps, (len(self),), generator=generator)[which]
        noise = torch.randn(self._latents.shape, generator=generator)[which]
        noisy, goal = self.box.noised(self._latents[which], noise, timesteps)
        gammas = self.defence.gammas(states, tokens)
        with self.defence.applied(self.box.base.targets(), gammas):
            made = self.box.predict(noisy, timesteps, states)
        return ((made - goal) ** 2).mean((1, 2, 3))

    def draw(
        self, states: torch.Tensor, seeds: Sequence[int], how: Drawn, tokens: Sequence[Sequence[int]] | None = None
    ) -> list[Image]:
        """Pictures of states, through gate and membranes."""
        with torch.no_grad():
            gammas = self.defence.gammas(states, tokens)
            # Drawing runs the empty text in the first half of each batch; the membranes act in both, as when serving.
            with self.defence.applied(self.box.base.targets(), gammas):
                return self.box.draw(states, seeds, steps=how.steps, guidance=how.guidance)
