"""What a set of SPMs, each at its permeability, adds to the weight of every target.

Both rules are brought into one form: for each target a stack of rank-one terms and, for each group of prompts with the
same permeabilities, a gain for every term. Invariants: terms whose gain is 0 for every group are not in the stack;
nothing here touches a model.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, SupportsFloat

import torch

from safegen.errors import AdapterShapeError
from safegen.spm.fitting import Resolved
from safegen.spm.membrane import Targets
from safegen.spm.weights import SpmFile

Rule = Literal["exact", "released"]
"""`exact`: arXiv 2312.16145, Eq. 9, for any mix of ranks. `released`: the arithmetic of the authors' script."""


@dataclass(frozen=True)
class Attached:
    """One SPM and how far it is open.

    Attributes:
        spm: the file's content.
        gamma: permeability: one number for all rows of a batch, or one for each row (prompt). 0 leaves a row as it is.
        name: what errors call it.
    """

    spm: SpmFile
    gamma: SupportsFloat | Iterable[SupportsFloat]
    name: str = ""

    @cached_property
    def gammas(self) -> tuple[float, ...]:
        """One number for all rows, or one a row.

        Raises:
            ValueError: no number at all, or one that is not finite.
        """
        gamma = self.gamma
        if isinstance(gamma, float | int) or (isinstance(gamma, SupportsFloat) and not getattr(gamma, "ndim", 0)):
            values: tuple[float, ...] = (float(gamma),)
        else:
            values = tuple(float(value) for value in gamma)  # type: ignore[union-attr]
        if not values or not all(map(math.isfinite, values)):
            raise ValueError(f"the permeability of {self.name or 'an SPM'} must be finite, it is {self.gamma!r}")
        return values

    @property
    def opens(self) -> bool:
        """Whether it changes any row."""
        return any(self.gammas)


@dataclass(frozen=True)
class Update:
    """What one target gains: up @ diag(gains[g]) @ down for the prompts of group g.

    Attributes:
        down: (terms, *fan_in of the target).
        up: (out, terms).
        gains: (groups, terms).
    """

    down: torch.Tensor
    up: torch.Tensor
    gains: torch.Tensor


@dataclass(frozen=True)
class Grouping:
    """The prompts of a batch, grouped by equal permeabilities.

    Attributes:
        gammas: for each group, the permeability of each SPM.
        rows: the group of each prompt; None if one group holds all, however many they are.
    """

    gammas: tuple[tuple[float, ...], ...]
    rows: tuple[int, ...] | None


def group(spms: Sequence[Attached]) -> Grouping:
    """Group the rows of a batch by the permeabilities of these SPMs.

    Raises:
        ValueError: the SPMs state different numbers of rows.
    """
    lengths = {len(item.gammas) for item in spms if len(item.gammas) > 1}
    if len(lengths) > 1:
        raise ValueError(f"permeabilities for {', '.join(map(str, sorted(lengths)))} rows in one batch")
    count = max(lengths, default=1)
    columns = (item.gammas if len(item.gammas) > 1 else item.gammas * count for item in spms)
    table = list(zip(*columns, strict=True))
    distinct = {row: index for index, row in enumerate(dict.fromkeys(table))}
    rows = None if len(distinct) == 1 else tuple(distinct[row] for row in table)
    return Grouping(tuple(distinct), rows)


@torch.no_grad()
def compose(targets: Targets, spms: Sequence[Attached], grouping: Grouping, rule: Rule) -> dict[str, Update]:
    """The update of every target that any of the SPMs has a layer for.

    Args:
        targets: the modules, by path.
        spms: all SPMs, closed ones too.
        grouping: of these SPMs.
        rule: how they add up.

    Raises:
        AdapterMismatchError: an SPM does not fit the targets, or (`released`) the SPMs are of different ranks.
    """
    # The script builds its network from the first file, so that its alpha counts for all; what is closed adds zeros.
    leading = _one_rank(targets, spms) if rule == "released" else None
    layers: dict[str, list[tuple[int, Resolved]]] = {}
    for index, item in enumerate(spms):
        if item.opens:
            for layer in item.spm.resolve(targets, where=item.name):
                layers.setdefault(layer.name, []).append((index, layer))
    if leading is None:
        return {name: _exact(parts, grouping.gammas) for name, parts in layers.items()}
    return {name: _released(parts, grouping.gammas, leading) for name, parts in layers.items()}


def _exact(parts: Sequence[tuple[int, Resolved]], gammas: Sequence[Sequence[float]]) -> Update:
    """Sum of gamma * (alpha / r) * up down: Eq. 9, generalised to rank r."""
    down = torch.cat([layer.down for _, layer in parts]).float()
    gains = torch.tensor([[row[index] * layer.scale for index, layer in parts] for row in gammas])
    if len(down) > len(parts):  # some SPM is of rank 2 or more
        gains = gains.repeat_interleave(torch.tensor([len(layer.down) for _, layer in parts]), dim=1)
    return Update(down, torch.cat([layer.up for _, layer in parts], dim=1).flatten(1).float(), gains)


def _released(parts: Sequence[tuple[int, Resolved]], gammas: Sequence[Sequence[float]], scale: float) -> Update:
    """(alpha / r) * (sum of gamma_i up_i) (sum of gamma_j down_j), which squares gamma and adds cross-terms."""
    downs, ups, blocks = [], [], []
    for row in gammas:
        weights = torch.tensor([row[index] for index, _ in parts])
        downs.append(torch.tensordot(weights, torch.stack([layer.down.float() for _, layer in parts]), 1))
        ups.append(torch.tensordot(weights, torch.stack([layer.up.flatten(1).float() for _, layer in parts]), 1))
        blocks.append(torch.full((1, len(downs[-1])), scale if any(weights) else 0.0))
    gains: torch.Tensor = torch.block_diag(*blocks)  # type: ignore[no-untyped-call]
    return Update(down=torch.cat(downs), up=torch.cat(ups, dim=1), gains=gains)


def _one_rank(targets: Targets, spms: Sequence[Attached]) -> float:
    """The scale of the first SPM, after checking that all are of its rank."""
    ranks = {item.name or str(number): _ranks(item.spm.layers) for number, item in enumerate(spms)}
    if len(set().union(*ranks.values())) > 1:
        stated = ", ".join(f"{name} has {sorted(each)}" for name, each in list(ranks.items())[:3])
        raise AdapterShapeError(
            f"the released rule adds up SPMs of one rank only: {stated}",
            where=spms[0].name,
            hint="compose SPMs of different ranks by the rule `exact`",
        )
    return spms[0].spm.resolve(targets, where=spms[0].name)[0].scale


def _ranks(layers: Mapping[str, tuple[torch.Tensor, torch.Tensor, float]]) -> set[int]:
    return {len(down) for down, _, _ in layers.values()}
