"""How much the weight updates of adapters overlap, from their files alone.

Invariants: no base model is loaded and no update is built in full; an adapter overlaps with itself by 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

from safegen.spm.weights import SpmFile


def overlaps(adapters: Mapping[str, SpmFile]) -> dict[tuple[str, str], float]:
    """For each pair of adapters, the cosine of their updates (all layers as one vector), -1..1; 0 if one is zero.

    Near 0, the adapters act on different directions and add up; far from 0, switching on both changes what each does.
    """
    norms = {name: _product(spm, spm) ** 0.5 for name, spm in adapters.items()}
    found = {}
    for one, other in combinations(sorted(adapters), 2):
        scale = norms[one] * norms[other]
        found[one, other] = _product(adapters[one], adapters[other]) / scale if scale else 0.0
    return found


def _product(one: SpmFile, other: SpmFile) -> float:
    """The inner product of two updates: the sum over shared layers of <up1 down1, up2 down2> (Frobenius)."""
    total = 0.0
    for layer in one.layers.keys() & other.layers.keys():
        (down, up, alpha), (other_down, other_up, other_alpha) = one.layers[layer], other.layers[layer]
        rank, other_rank = down.shape[0], other_down.shape[0]
        ups = up.double().reshape(up.shape[0], rank).T @ other_up.double().reshape(other_up.shape[0], other_rank)
        downs = down.double().reshape(rank, -1) @ other_down.double().reshape(other_rank, -1).T
        total += float((ups * downs).sum()) * (alpha / rank) * (other_alpha / other_rank)
    return total
