"""Which token of the surrogate prompt stands for which token of the target prompt.

Invariant: positions are those of the padded row that the text encoder gives: start, tokens, end, padding; every
position of the target's row gets exactly one of the surrogate's.
"""

from __future__ import annotations

from collections.abc import Sequence


def align(target: Sequence[int], surrogate: Sequence[int], length: int) -> list[int]:
    """For each position of the target's row, the position of the surrogate's row that stands for it.

    What both begin and end with is paired as it is. In between, runs of equal length are paired in order; of unequal
    length, every token of the target's run gets the last of the surrogate's run (in English the head: "a tall wizard"),
    or, where the surrogate has nothing there, the token that follows. Since attention is causal, the end and the
    padding have read the whole text and carry the concept as well: end is paired with end, padding with the padding
    of the same position, as far as the surrogate has padding there.

    Args:
        target: token ids without start, end and padding.
        surrogate: likewise.
        length: of the rows.
    """
    start = 0
    while start < min(len(target), len(surrogate)) and target[start] == surrogate[start]:
        start += 1
    end = 0
    while end < min(len(target), len(surrogate)) - start and target[-1 - end] == surrogate[-1 - end]:
        end += 1
    ours, theirs = len(target) - start - end, len(surrogate) - start - end
    if ours == theirs:
        between = list(range(1 + start, 1 + start + theirs))
    else:
        between = [start + theirs if theirs else 1 + start] * ours
    positions = [*range(1 + start), *between, *range(1 + start + theirs, 2 + len(surrogate))]
    first_padding = 2 + len(surrogate)
    positions += [max(position, first_padding) for position in range(len(positions), length)]
    return [min(position, length - 1) for position in positions[:length]]
