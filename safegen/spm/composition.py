"""Attaches any number of SPMs to a denoiser, exactly, and takes them off again bit for bit.

y = W x + sum over c of gamma_c * (alpha_c / r_c) * up_c down_c x (arXiv 2312.16145, Eq. 9, generalised to rank r), with
a gamma for each SPM and, where they differ, for each row of the batch. Invariants: modules get back their own
`Parameter` and `forward`, untouched, on every way out; a closed set of SPMs leaves every module as it is; one denoiser
has at most one set attached at a time (occupancy.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from torch import nn

from safegen.spm.cost import FOLD_FROM_STEPS, STEPS
from safegen.spm.distinct import check_distinct
from safegen.spm.folding import folded, is_small, keep_spare, take_spare
from safegen.spm.membrane import Target, Targets
from safegen.spm.occupancy import occupy
from safegen.spm.rowwise import GuidanceHalves, Layout, RowwiseForward
from safegen.spm.updates import Attached, Rule, Update, compose, group

_PATIENCE_S = 600.0


@contextmanager
def attach(
    targets: Targets,
    spms: Sequence[Attached],
    rule: Rule = "exact",
    *,
    guidance_halves: GuidanceHalves = "both",
    steps: int | None = None,
    patience_s: float = _PATIENCE_S,
) -> Iterator[int]:
    """Let the SPMs act on the targets within the context; yields how many act (gamma != 0 for some row).

    Another thread that has SPMs attached to the same modules is waited for, also by a set that is closed, since what is
    drawn without membranes must not pass through somebody else's.

    Args:
        targets: the modules, by path.
        spms: which, each with one permeability for the whole batch or one for each row of it.
        rule: `exact`, or `released` to reproduce numbers made with the authors' script.
        guidance_halves: where the membranes act under classifier-free guidance, whose batches are
            [unconditional..., conditional...].
        steps: how often the model is run within the context, if known; decides what is folded into the weights.
        patience_s: seconds to wait for another thread.

    Raises:
        AdapterMismatchError: an SPM does not fit the targets; nothing is attached then.
        AdapterDuplicateError: two open SPMs are of one concept, or one file; nothing is attached then.
        AdapterError: SPMs are attached by this thread already, or by another one for longer than `patience_s`; or the
            model is run on a batch of another number of rows than there are permeabilities.
        ValueError: permeabilities for different numbers of rows, or one that is not finite.
    """
    active = [item for item in spms if item.opens]
    # The released rule reads its scale from the first SPM, even if that one is closed.
    counted = spms if rule == "released" else active
    grouping = group(counted)
    updates = compose(targets, counted, grouping, rule) if active else {}
    names = ", ".join(item.name for item in active) or "none of them open"
    uniform = grouping.rows is None and guidance_halves == "both"
    fold = uniform and (STEPS if steps is None else steps) >= FOLD_FROM_STEPS
    check_distinct(active)
    layout = Layout(grouping, guidance_halves)
    small = is_small(targets[name].weight for name in updates)
    with occupy(targets, names=names, patience_s=patience_s), ExitStack() as restored:
        for name, update in updates.items():
            module = targets[name]
            if fold:
                _swap_weight(module, update, restored, keep=small)
            else:
                stand_in = RowwiseForward(module, update, layout, steps=STEPS if steps is None else steps)
                _swap_forward(module, stand_in, restored)
        yield len(active)


def _swap_weight(module: Target, update: Update, restored: ExitStack, *, keep: bool) -> None:
    new = folded(module.weight, update, 0, into=take_spare(module, module.weight))
    if keep:
        restored.callback(keep_spare, module, new)
    restored.callback(setattr, module, "weight", module.weight)
    module.weight = nn.Parameter(new, requires_grad=False)


def _swap_forward(module: Target, stand_in: RowwiseForward, restored: ExitStack) -> None:
    own = module.__dict__.get("forward")
    if own is None:
        restored.callback(module.__dict__.pop, "forward", None)
    else:  # somebody else's stand-in, such as an offloading hook
        restored.callback(module.__dict__.__setitem__, "forward", own)
    module.__dict__["forward"] = stand_in
