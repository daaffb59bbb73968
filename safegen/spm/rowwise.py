"""Lets one target act differently on the rows of one batch.

Stands in for a module's `forward` while SPMs are attached whose permeability differs between prompts, or between the
halves of classifier-free guidance. Invariants: a row is multiplied by its own permeabilities only, so that it is what
it would be alone; the module and its weight are never changed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

import torch
from torch import nn
from torch.nn import functional as F

from safegen.errors import AdapterError
from safegen.spm.cost import Way, Work, cheaper
from safegen.spm.folding import folded
from safegen.spm.membrane import Target
from safegen.spm.updates import Grouping, Update

GuidanceHalves = Literal["both", "conditional"]
"""Where membranes act under classifier-free guidance, whose batches are [unconditional..., conditional...]: in both
halves, as arXiv 2312.16145 does, or in the conditional one only."""

_VECTORS = 2  # dimensions of a batch with one vector a row


@dataclass(frozen=True)
class Layout:
    """Which group of permeabilities each row of a batch belongs to."""

    grouping: Grouping
    halves: GuidanceHalves

    def groups(self, batch: int) -> tuple[int | None, ...]:
        """The group of each row; None for a row that no membrane acts on.

        Raises:
            AdapterError: the batch has another number of rows than permeabilities were given for.
        """
        rows = self.grouping.rows
        if rows is None:
            guided = self.halves == "conditional"
            if guided and batch % 2:
                raise AdapterError(
                    f"a batch of {batch} rows has no two halves",
                    hint='without classifier-free guidance, attach with guidance_halves="both"',
                )
            half = batch // 2 if guided else 0
            return (None,) * half + (0,) * (batch - half)
        if batch == len(rows):
            return rows
        if batch == 2 * len(rows):
            return (rows if self.halves == "both" else (None,) * len(rows)) + rows
        raise AdapterError(
            f"permeabilities were given for {len(rows)} rows, the model is run on a batch of {batch}",
            hint="give one permeability for each image of the batch; guidance may double the batch",
        )


class RowwiseForward:
    """What stands in for one target's `forward`."""

    def __init__(self, module: Target, update: Update, layout: Layout, *, steps: int) -> None:
        self._module, self._update, self._layout, self._steps = module, update, layout, steps
        self._convolution = module if isinstance(module, nn.Conv2d) else None
        self._bare: Callable[[torch.Tensor], torch.Tensor] = module.forward
        # A `forward` of somebody else's, such as an offloading hook, must run: only torch's own may be replaced.
        self._replaceable = self._bare in (nn.Linear.forward.__get__(module), nn.Conv2d.forward.__get__(module))
        self._weights: dict[int, torch.Tensor] = {}
        self._stack: tuple[torch.Tensor, torch.Tensor] | None = None
        self._rows: dict[int, list[int | None]] = {}
        self._gains: dict[int, torch.Tensor] = {}
        self._acting = [int(count) for count in update.gains.count_nonzero(1)]
        self._own_stacks: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """The module's output, with each row's update in it."""
        groups = self._groups(len(x))
        if all(group is None for group in groups):
            return self._bare(x)
        if self._convolution is not None and not _is_matrix(self._convolution):
            return self._add_convolution(self._convolution, x, groups)
        vectors = self._vectors(x)
        way = self._way(vectors, groups)
        if way == "grouped":
            return self._like_output(self._multiply_by_group(vectors, groups), x)
        if way == "sparse":
            return self._add_by_group(x, vectors, groups)
        return self._add_stack(x, vectors, groups)

    def _groups(self, batch: int) -> list[int | None]:
        """The group of each row; None where nothing acts on this module."""
        if batch not in self._rows:
            groups = self._layout.groups(batch)
            self._rows[batch] = [group if group is not None and self._acting[group] else None for group in groups]
        return self._rows[batch]

    def _vectors(self, x: torch.Tensor) -> torch.Tensor:
        """A view of the input or output whose last dimension is what the matrix acts on."""
        if self._convolution is not None:
            return x.permute(0, 2, 3, 1)
        return x if x.dim() > _VECTORS else x[:, None]

    def _like_output(self, vectors: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """The reverse of `_vectors`, for an output that belongs to the input x."""
        if self._convolution is not None:
            return vectors.permute(0, 3, 1, 2)
        return vectors if x.dim() > _VECTORS else vectors[:, 0]

    def _way(self, vectors: torch.Tensor, groups: list[int | None]) -> Way:
        # Off the processor a launch costs more than a pass; with gradients nothing may be written in place.
        on_processor = vectors.device.type == "cpu" and vectors.is_contiguous()
        if not on_processor or torch.is_grad_enabled() or not self._replaceable:
            return "stacked"
        work = Work(
            inputs=vectors.shape[-1],
            outputs=self._update.up.shape[0],
            vectors=vectors.shape[:-1].numel(),
            terms=self._update.gains.shape[1],
            groups=len({group for group in groups if group is not None}),
            runs=sum(1 for _ in groupby(groups)),
            own_terms=sum(self._acting[group] for group in groups if group is not None) / len(groups),
        )
        return cheaper(work, steps=self._steps)

    def _multiply_by_group(self, vectors: torch.Tensor, groups: list[int | None]) -> torch.Tensor:
        """Each run of rows times its group's own weight, written where the bare product would stand."""
        bias, outputs = self._module.bias, self._update.up.shape[0]
        result = vectors.new_empty(*vectors.shape[:-1], outputs)
        start = 0
        for group, run in groupby(groups):
            end = start + len(list(run))
            rows, out = vectors[start:end].flatten(0, -2), result[start:end].view(-1, outputs)
            weight = self._weight(group).flatten(1).T
            if bias is None:
                torch.mm(rows, weight, out=out)
            else:
                torch.addmm(bias, rows, weight, out=out)
            start = end
        return result

    def _weight(self, group: int | None) -> torch.Tensor:
        if group is None:
            return self._module.weight
        if group not in self._weights:
            self._weights[group] = folded(self._module.weight, self._update, group)
        return self._weights[group]

    def _add_stack(self, x: torch.Tensor, vectors: torch.Tensor, groups: list[int | None]) -> torch.Tensor:
        """What the module gives, and the thin product on top."""
        down, up = self._stacked(x)
        thin = F.linear(vectors, down.flatten(1))
        thin = thin * self._row_gains(x, groups).view(len(x), *(1,) * (thin.dim() - 2), -1)
        bare = self._bare(x)
        onto = self._vectors(bare)
        if onto.is_contiguous() and not torch.is_grad_enabled():
            onto.view(-1, len(up)).addmm_(thin.flatten(0, -2), up.T)
            return bare
        return bare + self._like_output(F.linear(thin, up), x)

    def _add_by_group(self, x: torch.Tensor, vectors: torch.Tensor, groups: list[int | None]) -> torch.Tensor:
        """What the module gives, and on top, for each run of rows, the thin product of its own terms."""
        bare = self._bare(x)
        onto, outputs = self._vectors(bare).contiguous(), self._update.up.shape[0]
        start = 0
        for group, run in groupby(groups):
            end = start + len(list(run))
            if group is not None:
                down, up = self._own_stack(group, x)
                thin = vectors[start:end].flatten(0, -2) @ down.T
                onto[start:end].view(-1, outputs).addmm_(thin, up.T)
            start = end
        return self._like_output(onto, x)

    def _own_stack(self, group: int, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The terms that act in one group, with its gains in them."""
        if group not in self._own_stacks:
            gains = self._update.gains[group]
            acting = gains.nonzero().flatten()
            down = self._update.down.flatten(1)[acting] * gains[acting, None]
            self._own_stacks[group] = down.to(x), self._update.up[:, acting].contiguous().to(x)
        return self._own_stacks[group]

    def _add_convolution(self, module: nn.Conv2d, x: torch.Tensor, groups: list[int | None]) -> torch.Tensor:
        if module.groups != 1 or module.padding_mode != "zeros":
            raise AdapterError("an SPM cannot act row by row on a grouped or specially padded convolution")
        down, up = self._stacked(x)
        thin = F.conv2d(x, down, None, module.stride, module.padding, module.dilation)
        thin = thin * self._row_gains(x, groups)[:, :, None, None]
        return self._bare(x) + F.conv2d(thin, up[:, :, None, None])

    def _stacked(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if self._stack is None:
            self._stack = self._update.down.to(x), self._update.up.to(x)
        return self._stack

    def _row_gains(self, x: torch.Tensor, groups: list[int | None]) -> torch.Tensor:
        """(rows, terms); exact zeros where nothing acts."""
        if len(x) not in self._gains:
            closed = torch.zeros_like(self._update.gains[0])
            rows = [closed if group is None else self._update.gains[group] for group in groups]
            self._gains[len(x)] = torch.stack(rows).to(x)
        return self._gains[len(x)]


def _is_matrix(module: nn.Conv2d) -> bool:
    """Whether a convolution is one matrix, the same for every pixel."""
    unmoved = module.padding == "valid" or not any(map(int, module.padding))
    return module.kernel_size == (1, 1) and module.stride == (1, 1) and module.groups == 1 and unmoved
