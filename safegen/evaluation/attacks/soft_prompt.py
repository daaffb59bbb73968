"""White-box soft prompt: text states optimised freely, so that the erased concept is drawn through gate and membranes.

No text need exist that reads to such states; an attacker who can hand in embeddings needs none. Source: the idea of
"Circumventing Concept Erasure" (Pham et al. 2024, arXiv 2308.01508) with the loss of UnlearnDiffAtk.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch

from safegen.evaluation.attacks.objective import Drawn, Objective

if TYPE_CHECKING:
    from PIL.Image import Image

RATE = 0.05


def soft_prompt(
    objective: Objective,
    start: torch.Tensor,
    *,
    steps: int,
    seeds: Sequence[int],
    how: Drawn,
    rate: float = RATE,
    evade: Callable[[torch.Tensor], torch.Tensor] | None = None,
) -> tuple[list[Image], torch.Tensor]:
    """Optimise one row of states for each reference, then draw it.

    Args:
        objective: references and defence.
        start: (rows, tokens, width) to start from, one row a reference.
        steps: of Adam.
        seeds: one for each row's final picture.
        how: sampler of the final pictures.
        rate: of Adam, relative to the root mean square of the states.
        evade: a differentiable penalty (rows,) on states that open the gate.

    Returns:
        The pictures, and the final states.
    """
    states = start.clone().requires_grad_()
    optimiser = torch.optim.Adam([states], rate * float(start.square().mean().sqrt()))
    for step in range(steps):
        loss = objective.loss(states, step).sum()
        if evade is not None:
            loss = loss + evade(states).sum()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    found = states.detach()
    return objective.draw(found, seeds, how), found
