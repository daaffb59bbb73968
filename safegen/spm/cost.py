"""Which way of applying an update is cheaper: folding it into a weight, or adding it to what the module gives.

These ways give the same sum (docs/decisions/0011):

- fold: one new weight, once; a step then costs what it costs bare. Only where all rows have the same permeabilities.
- grouped: one new weight for each group of rows, once; a step runs the groups one after another.
- stacked: the module runs as it is, and the thin product up (gain * (down x)) over all terms is added, at every step.
- sparse: the same, run by run with the terms that act there: fewer sums, more operations.

Invariants: the choice is a function of shapes and the number of steps alone, never of a clock, so that the same request
takes the same way, and gives the same bits, on every day.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Way = Literal["grouped", "stacked", "sparse"]

STEPS = 20
"""Assumed where the caller does not say how many steps follow."""
FOLD_FROM_STEPS = 6
"""From so many steps on, folding is cheaper for every target of SD 1.4; below, it depends on the target."""

# Nanoseconds, measured for float32 on one core of a server processor; only their proportions matter.
# `benchmarks/overhead.py --only model` measures them again and prints them beside these.
_FOLD = 1.6
"""One value of a weight: reading the old one, writing the new one into fresh memory."""
_REREAD = 0.45
"""One value of a weight, once more for each run of rows that is multiplied on its own."""
_PASS = 0.65
"""One value of an input or output, gone over once more to add the thin product."""
_TERM = 0.025
"""One value of an input or output, for each rank-one term."""
_CALL = 6000.0
"""One more operation."""


@dataclass(frozen=True, slots=True)
class Work:
    """What one target has to do in one step.

    Attributes:
        inputs: length of an input vector.
        outputs: length of an output vector.
        vectors: vectors in the batch.
        terms: rank-one terms in the stack.
        groups: groups of rows that need a weight of their own.
        runs: neighbouring rows of one group, counted over the batch.
        own_terms: terms that act on a row, on average.
    """

    inputs: int
    outputs: int
    vectors: int
    terms: int
    groups: int
    runs: int
    own_terms: float


def cheaper(work: Work, *, steps: int) -> Way:
    """The way that takes less time over all steps together."""
    costs: dict[Way, float] = {
        "stacked": stacked_ns(work, steps=steps),
        "sparse": sparse_ns(work, steps=steps),
        "grouped": grouped_ns(work, steps=steps),
    }
    return min(costs, key=lambda way: costs[way])


def grouped_ns(work: Work, *, steps: int) -> float:
    """Nanoseconds beyond the bare module, over all steps, with one weight a group."""
    values = work.inputs * work.outputs
    return work.groups * values * _FOLD + steps * work.runs * (values * _REREAD + _CALL)


def stacked_ns(work: Work, *, steps: int) -> float:
    """Nanoseconds beyond the bare module, over all steps, with the thin product of all terms added."""
    values = work.vectors * (work.inputs + work.outputs)
    return steps * (values * (_PASS + work.terms * _TERM) + 3 * _CALL)


def sparse_ns(work: Work, *, steps: int) -> float:
    """Nanoseconds beyond the bare module, over all steps, with each run's own thin product added."""
    values = work.vectors * (work.inputs + work.outputs)
    return steps * (values * (_PASS + work.own_terms * _TERM) + 2 * work.runs * _CALL)
