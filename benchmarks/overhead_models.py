"""What the overhead benchmark measures on: an SD 1.4-sized UNet, random SPMs, and clock and memory."""

from __future__ import annotations

import copy
import ctypes
import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch import nn

from safegen.spm import SpmFile, Targets

SD14 = {
    "sample_size": 64,
    "block_out_channels": (320, 640, 1280, 1280),
    "layers_per_block": 2,
    "cross_attention_dim": 768,
    "attention_head_dim": 8,
}
"""CompVis/stable-diffusion-v1-4, unet/config.json, where it differs from the class's defaults."""


def sd14_unet(**changes: Any) -> UNet2DConditionModel:
    """The real configuration with random weights of a sensible size; 859.5 M parameters, unless changed.

    Drawing them all takes as long as some steps, so weights are parts of one pool of random numbers.
    """
    pool = torch.rand(2**25) * 2 - 1
    with torch.device("meta"):
        unet = UNet2DConditionModel(**{**SD14, **changes})
    unet = unet.to_empty(device="cpu")
    for name, parameter in unet.named_parameters():
        if parameter.dim() > 1:
            bound = 1.7 / parameter[0].numel() ** 0.5
            flat = parameter.data.view(-1)
            start = int(torch.randint(len(pool) - len(flat), ()))
            flat.copy_(pool[start : start + len(flat)]).mul_(bound)
        else:
            nn.init.constant_(parameter, float("norm" in name and name.endswith("weight")))
    unet.eval().requires_grad_(requires_grad=False)
    return unet.to(memory_format=torch.channels_last)


def random_spms(targets: Targets, count: int, *, rank: int = 1, seed: int = 0) -> list[SpmFile]:
    """SPMs with a layer for every target, whose updates are small beside the weights."""
    generator = torch.Generator().manual_seed(seed)

    def layer(target: nn.Module) -> tuple[torch.Tensor, torch.Tensor, float]:
        shape = target.weight.shape
        down = torch.randn(rank, *shape[1:], generator=generator) / shape[1:].numel() ** 0.5
        tail = (1,) * (len(shape) - 2)
        return down, torch.randn(shape[0], rank, *tail, generator=generator) * 0.01, 1.0

    return [
        SpmFile({f"lora_unet_{name.replace('.', '_')}": layer(target) for name, target in targets.items()}, {}, "")
        for _ in range(count)
    ]


def twin(unet: nn.Module) -> nn.Module:
    """The same model with modules of its own and the same parameters in memory, for a peer to wrap."""
    return copy.deepcopy(unet, {id(parameter): parameter for parameter in unet.parameters()})


@dataclass(frozen=True)
class Visit:
    """Seconds of one visit: what is done once for a prompt, and of each step taken in turn with a bare one."""

    once: float
    pairs: list[tuple[float, float]]
    """Own step, and the bare step right before or after it."""


Clock = Callable[[], float]


def visit(
    ready: Callable[[], AbstractContextManager[Any]],
    own: Callable[[], object],
    bare: Callable[[], object],
    pairs: int,
    *,
    lazy: bool = False,
    clock: Clock = time.perf_counter,
) -> Visit:
    """Enter, step in turn with the bare model, leave.

    A lazy contestant does part of what is done once in its first step, which is taken beforehand: by how much it is
    longer than the others counts as done once.
    """

    def seconds(step: Callable[[], object]) -> float:
        started = clock()
        step()
        return clock() - started

    started = clock()
    with ready():
        once = clock() - started
        first = seconds(own) if lazy else 0.0
        found = []
        for number in range(pairs):
            if number % 2:
                before = seconds(bare)
                found.append((seconds(own), before))
            else:
                found.append((seconds(own), seconds(bare)))
        left = clock()
    once += clock() - left
    return Visit(once + max(0.0, first - statistics.median(mine for mine, _ in found)), found)


_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3


def keep_freed_memory() -> bool:
    """Let glibc keep what is freed for what is asked next; whether it does.

    By default it hands every larger block back at once. A step of an SD 1.4-sized model then spends a quarter of its
    time on fresh pages, and in a virtual machine that quarter varies by more than what is measured.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    kept = (mallopt(_TRIM_THRESHOLD, -1), mallopt(_MMAP_THRESHOLD, 2**31 - 1), mallopt(_TOP_PAD, 256 * 2**20))
    return all(kept)


def status(key: str) -> float:
    """One line of /proc/self/status, in MB; 0 where there is none."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(key + ":")), 0.0)


def peak_of(call: Callable[[], object]) -> float:
    """The MB by which the process grows at its peak during the call; what was kept of freed memory is let go before."""
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)
    before = status("VmRSS")
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return 0.0
    call()
    return max(0.0, status("VmHWM") - before)


def open_from(first: int, count: int, *, total: int) -> list[float]:
    """Permeabilities of `total` SPMs for one prompt: `count` of them, from `first` on, between 0.3 and 1; others 0."""
    values = 0.3 + 0.7 * torch.rand(count, generator=torch.Generator().manual_seed(first + 100 * count))
    return [0.0] * first + values.tolist() + [0.0] * (total - first - count)
