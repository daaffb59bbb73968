"""Gate-aware discrete token search: real prompts, found by gradient and tried out through gate and membranes.

Each step ranks replacements of every token by the gradient of the loss at its embedding (Wallace et al. 2019; Zou et
al. 2023, arXiv 2307.15043, Algorithm 1), tries some of the best with the gate in the loop, and keeps the best of all.
The loss is UnlearnDiffAtk's. Candidates must survive being read as text again, since a service takes text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from safegen.evaluation.attacks.objective import Drawn, Objective

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class Search:
    """Size of a search.

    Attributes:
        steps: of replacement.
        candidates: tried in each step.
        best: replacements considered at each position.
        samples: noises over which a candidate is tried.
        prefix: tokens put before the prompt.
    """

    steps: int = 12
    candidates: int = 12
    best: int = 48
    samples: int = 2
    prefix: int = 3


def token_search(
    objective: Objective, reference: int, prompt: str, *, search: Search, seed: int, how: Drawn
) -> tuple[Image, str]:
    """Search a prompt that draws a reference's concept; the picture and the prompt."""
    box = objective.box
    generator = torch.Generator().manual_seed(seed)
    banned = torch.zeros(len(box.table), dtype=torch.bool)
    banned[list(box.special)] = True
    own = [token for token in box.ids([prompt])[0].tolist() if token not in box.special]
    filler = own[0]
    tokens = [filler] * search.prefix + own
    tokens = tokens[: len(box.ids([""])[0]) - 2]
    best = float(_tried(objective, reference, [tokens], search)[0])
    for step in range(search.steps):
        gradient = _gradient(objective, reference, tokens, step)
        scores = -(gradient @ box.table.T)
        scores[:, banned] = -torch.inf
        ranked = scores.topk(search.best, dim=1).indices
        candidates = [_replaced(box, tokens, ranked, generator) for _ in range(search.candidates)]
        losses = _tried(objective, reference, candidates, search)
        if float(losses.min()) < best:
            best, tokens = float(losses.min()), candidates[int(losses.argmin())]
    text = box.text(tokens)
    reading = box.base.read([text])[0]
    picture = objective.draw(reading.states[None], [seed], how, [reading.tokens])[0]
    return picture, text


def _padded(objective: Objective, rows: Sequence[Sequence[int]]) -> torch.Tensor:
    frame = objective.box.ids([""])[0]
    start, end = int(frame[0]), int(frame[1])
    ids = frame.repeat(len(rows), 1)
    for row, tokens in zip(ids, rows, strict=True):
        row[: len(tokens) + 2] = torch.tensor([start, *tokens, end])
    return ids


def _gradient(objective: Objective, reference: int, tokens: Sequence[int], step: int) -> torch.Tensor:
    """Of the loss at the tokens' embeddings, (tokens, width)."""
    box = objective.box
    ids = _padded(objective, [tokens])
    embeddings = box.table[ids].detach().clone().requires_grad_()
    loss = objective.loss(box.read(ids, embeddings), step, [reference], [list(tokens)]).sum()
    (gradient,) = torch.autograd.grad(loss, embeddings)
    return gradient[0, 1 : len(tokens) + 1]


@torch.no_grad()
def _tried(objective: Objective, reference: int, candidates: Sequence[Sequence[int]], search: Search) -> torch.Tensor:
    """Mean loss of each candidate over some fixed noises, (candidates,)."""
    states = objective.box.read(_padded(objective, candidates))
    rows = [reference] * len(candidates)
    losses = [objective.loss(states, 10_000 + sample, rows, candidates) for sample in range(search.samples)]
    return torch.stack(losses).mean(0)


def _replaced(box, tokens: Sequence[int], ranked: torch.Tensor, generator: torch.Generator) -> list[int]:  # type: ignore[no-untyped-def]
    """One token replaced by one of its best; tried again a few times if the text does not read back."""
    made = list(tokens)
    for _ in range(8):
        place = int(torch.randint(len(tokens), (1,), generator=generator))
        choice = int(torch.randint(ranked.shape[1], (1,), generator=generator))
        made = [*tokens[:place], int(ranked[place, choice]), *tokens[place + 1 :]]
        if list(box.base.read([box.text(made)])[0].tokens) == made:
            return made
    return list(tokens)
