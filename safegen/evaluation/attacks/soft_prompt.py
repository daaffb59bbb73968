"""White-box soft prompt: text states optimised freely, so that the erased concept is drawn through gate and membranes.

No text need exist that reads to such states; an attacker who can hand in embeddings needs none. Source: the idea of
"Circumventing Concept Erasure" (Pham et al. 2024, arXiv 2308.01508) with the loss of UnlearnDiffAtk.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
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
    steps: Collection[int],
    seeds: Sequence[int],
    how: Drawn,
    rate: float = RATE,
    evade: Callable[[torch.Tensor], torch.Tensor] | None = None,
) -> dict[int, list[Image]]:
    """Optimise one row of states for each reference, and draw it on the way.

    Args:
        objective: references and defence.
        start: (rows, tokens, width) to start from, one row a reference.
        steps: numbers of Adam's steps after which pictures are drawn; the greatest ends the attack.
        seeds: one for each row's picture.
        how: sampler of the pictures.
        rate: of Adam, relative to the root mean square of the states.
        evade: a differentiable penalty (rows,) on states that open the gate.

    Returns:
        The pictures after each of `steps`.
    """
    states = start.clone().requires_grad_()
    optimiser = torch.optim.Adam([states], rate * float(start.square().mean().sqrt()))
    drawn = {0: objective.draw(start, seeds, how)} if 0 in steps else {}
    for step in range(max(steps)):
        loss = objective.loss(states, step).sum()
        if evade is not None:
            loss = loss + evade(states).sum()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        if step + 1 in steps:
            drawn[step + 1] = objective.draw(states.detach(), seeds, how)
    return drawn
