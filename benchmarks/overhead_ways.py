"""Measures the ways of applying an update that the cost model (safegen/spm/cost.py) chooses from."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from reporting import Report
from torch import nn

from safegen.spm import SpmFile
from safegen.spm import rowwise as rowwise_module
from safegen.spm.cost import Way, Work, cheaper, grouped_ns, sparse_ns, stacked_ns
from safegen.spm.rowwise import Layout, RowwiseForward
from safegen.spm.updates import Attached, compose, group

STEPS = 20
WAYS: tuple[Way, ...] = ("grouped", "stacked", "sparse")
# Inputs, outputs and vectors a row of SD 1.4's layers at 32 x 32 latents, and two of the sticker base's.
SHAPES = (
    (320, 320, 1024),
    (320, 2560, 1024),
    (1280, 320, 1024),
    (640, 640, 256),
    (640, 5120, 256),
    (2560, 640, 256),
    (1280, 1280, 64),
    (1280, 10240, 64),
    (5120, 1280, 64),
    (1280, 1280, 16),
    (1280, 10240, 16),
    (768, 320, 77),
    (768, 1280, 77),
    (96, 96, 64),
    (192, 1536, 16),
)


def table(report: Report, *, quick: bool) -> tuple[str, tuple[str, ...], list[list[Any]]]:
    """For each shape, what each way adds to the bare module over all steps, measured and by the model."""
    rows, chosen_ms, best_ms = [], 0.0, 0.0
    for inputs, outputs, vectors in SHAPES[:: 4 if quick else 1]:
        extra = {way: _extra_ms(inputs, outputs, vectors, way, runs=3 if quick else 9) for way in WAYS}
        work = Work(inputs, outputs, 8 * vectors, terms=32, groups=4, runs=8, own_terms=8)
        choice = cheaper(work, steps=STEPS)
        chosen_ms, best_ms = chosen_ms + extra[choice], best_ms + min(extra.values())
        model = [cost(work, steps=STEPS) / 1e6 for cost in (grouped_ns, stacked_ns, sparse_ns)]
        numbers = [number for pair in zip(extra.values(), model, strict=True) for number in pair]
        rows.append([f"{inputs} x {outputs}", vectors, *numbers, choice])
    report.at_most("cost model: what it chooses / the best of the ways", chosen_ms / best_ms, 1.25, "ratio")
    title = f"four prompts, 8 terms each, guidance: ms beyond bare over {STEPS} steps"
    return title, ("weight", "vectors", "grouped", "model", "stacked", "model", "sparse", "model", "chosen"), rows


@torch.no_grad()
def _extra_ms(inputs: int, outputs: int, vectors: int, way: Way, *, runs: int) -> float:
    module = nn.Linear(inputs, outputs)
    x = torch.randn(8, vectors, inputs)
    layer = (torch.randn(8, inputs), torch.randn(outputs, 8), 1.0)
    spms = [
        Attached(SpmFile({"lora_unet_a": layer}, {}, ""), [float(row == number) for row in range(4)])
        for number in range(4)
    ]
    grouping = group(spms)
    update = compose({"a": module}, spms, grouping, "exact")["a"]
    usual = rowwise_module.cheaper
    rowwise_module.cheaper = lambda _work, **_: way  # this way, whatever the model says
    try:
        stand_in = RowwiseForward(module, update, Layout(grouping, "both"), steps=STEPS)
        once = _once(lambda: stand_in(x))
        pairs = [(_once(lambda: module(x)), _once(lambda: stand_in(x))) for _ in range(runs)]
    finally:
        rowwise_module.cheaper = usual
    step = min(ours for _, ours in pairs)
    return 1000 * (max(0.0, once - step) + STEPS * max(0.0, step - min(bare for bare, _ in pairs)))


def _once(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started
