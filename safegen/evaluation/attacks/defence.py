"""What an attack runs against: membranes whose permeabilities follow, row by row, from the text states that come in.

Invariants: gradients flow through the membranes to the states, and through the gate's similarity where the defence
offers one; nothing is left attached; rows do not see one another's permeabilities.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import torch
from torch import nn
from torch.nn import functional as F

from safegen.spm import SpmFile, Targets
from safegen.spm.layers import layer_name


class Defence(Protocol):
    """Gate and membranes as the attacker meets them."""

    name: str

    def gammas(self, states: torch.Tensor, tokens: Sequence[Sequence[int]] | None = None) -> torch.Tensor:
        """Permeability of each SPM for each row of states (rows, tokens, width): (rows, SPMs)."""

    @contextmanager
    def applied(self, targets: Targets, gammas: torch.Tensor) -> Iterator[None]:
        """Act on rows of a batch with these permeabilities; a batch of twice the rows is two halves of guidance."""


class Undefended:
    """The bare model: what the attack itself can do."""

    name = "bare"

    def gammas(self, states: torch.Tensor, tokens: Sequence[Sequence[int]] | None = None) -> torch.Tensor:  # noqa: ARG002
        """No SPM at all."""
        return torch.zeros(len(states), 0)

    @contextmanager
    def applied(self, targets: Targets, gammas: torch.Tensor) -> Iterator[None]:  # noqa: ARG002
        """Nothing."""
        yield


class GateOnStates(Protocol):
    """A gate that reads states: permeabilities (rows, SPMs) from states (rows, tokens, width) and token ids, if any."""

    def __call__(self, states: torch.Tensor, tokens: Sequence[Sequence[int]] | None) -> torch.Tensor:
        """Permeabilities."""


@dataclass
class GatedMembranes:
    """SPMs behind a gate; `squared` multiplies the permeability in twice, as the released script does."""

    name: str
    spms: Sequence[SpmFile]
    gate: GateOnStates
    squared: bool = False

    def gammas(self, states: torch.Tensor, tokens: Sequence[Sequence[int]] | None = None) -> torch.Tensor:
        """What the gate says."""
        return self.gate(states, tokens)

    @contextmanager
    def applied(self, targets: Targets, gammas: torch.Tensor) -> Iterator[None]:
        """Each SPM with each row's own permeability."""
        by_layer = {layer_name(name): module for name, module in targets.items()}
        strengths = gammas**2 if self.squared else gammas
        with ExitStack() as stack:
            for number, spm in enumerate(self.spms):
                if not bool(strengths[:, number].any()):
                    continue
                for layer, (down, up, alpha) in spm.layers.items():
                    hook = partial(_update, down=down, up=up, scale=alpha / down.shape[0], gamma=strengths[:, number])
                    stack.callback(by_layer[layer].register_forward_hook(hook).remove)
            yield


def always_open(states: torch.Tensor, tokens: Sequence[Sequence[int]] | None) -> torch.Tensor:  # noqa: ARG001
    """A gate that is open, for one SPM."""
    return torch.ones(len(states), 1)


def _update(
    module: nn.Module,
    inputs: tuple[Any, ...],
    output: torch.Tensor,
    *,
    down: torch.Tensor,
    up: torch.Tensor,
    scale: float,
    gamma: torch.Tensor,
) -> torch.Tensor:
    x = inputs[0]
    if isinstance(module, nn.Conv2d):
        made = F.conv2d(F.conv2d(x, down, None, module.stride, module.padding, module.dilation), up)
    else:
        made = F.linear(F.linear(x, down.flatten(1)), up.flatten(1))
    row = gamma.repeat(len(x) // len(gamma)).reshape(-1, *[1] * (made.dim() - 1))
    return output + made * (scale * row)
