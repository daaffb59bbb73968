"""Concept inversion: a new token whose embedding is learned from pictures of the erased concept.

Source: textual inversion (Gal et al. 2022, arXiv 2208.01618) against erased models, as in "Circumventing Concept
Erasure" (Pham et al. 2024, arXiv 2308.01508). The token is learned through gate and membranes and then used in other
sentences. The gate reads the sentence as a prompt: its words, and what the encoder makes of them with the new token.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from safegen.evaluation.attacks.objective import Drawn, Objective

if TYPE_CHECKING:
    from PIL.Image import Image

RATE = 0.1


def invert(
    objective: Objective,
    *,
    word: str,
    learn: Sequence[str],
    use: Sequence[str],
    steps: int,
    seeds: Sequence[int],
    how: Drawn,
    rate: float = RATE,
) -> list[Image]:
    """Learn the token from all references at once and draw sentences with it.

    Args:
        objective: references and defence.
        word: a word of the vocabulary, of one token, whose embedding is where the new token begins.
        learn: a sentence with that word for each reference.
        use: sentences with that word to be drawn in the end.
        steps: of Adam.
        seeds: one for each of `use`.
        how: sampler of the pictures.
        rate: of Adam, relative to the root mean square of the embeddings.

    Raises:
        ValueError: the word is not one token.
    """
    box = objective.box
    token = [int(each) for each in box.ids([word])[0] if int(each) not in box.special]
    if len(token) != 1:
        raise ValueError(f"{word!r} is {len(token)} tokens; inversion starts from a word that is one")
    embedding = box.table[token[0]].detach().clone().requires_grad_()
    optimiser = torch.optim.Adam([embedding], rate * float(box.table.square().mean().sqrt()))
    ids = box.ids(learn)
    for step in range(steps):
        states = _read(objective, ids, token[0], embedding)
        loss = objective.loss(states, step, tokens=_texts(objective, ids)).mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    with torch.no_grad():
        used = box.ids(use)
        states = _read(objective, used, token[0], embedding)
    return objective.draw(states, seeds, how, _texts(objective, used))


def _texts(objective: Objective, ids: torch.Tensor) -> list[list[int]]:
    """The tokens that a gate sees: the word is there, and says nothing of what it was made to mean."""
    return [[token for token in row if token not in objective.box.special] for row in ids.tolist()]


def _read(objective: Objective, ids: torch.Tensor, token: int, embedding: torch.Tensor) -> torch.Tensor:
    table = objective.box.table
    rows = torch.where((ids == token)[..., None], embedding, table[ids])
    return objective.box.read(ids, rows)
