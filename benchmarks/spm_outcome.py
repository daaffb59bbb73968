"""What may become of a mutated SPM file, and what must not.

It may be refused, by an `AdapterError` that says where and what to do, or attached whole. Anything else is a fault:
another exception, a value that no SPM has, a layer that does not act, a module that is not as it was afterwards.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from safegen.errors import AdapterDigestError, AdapterError
from safegen.spm import Attached, SpmFile, attach, read_spm
from safegen.spm.exchange import read_foreign

Targets = Mapping[str, nn.Linear | nn.Conv2d]


class State:
    """What a model's modules are: their weights' identity and bits, and their forward."""

    def __init__(self, targets: Targets) -> None:
        self.targets = targets
        self.weights = {name: module.weight for name, module in targets.items()}
        self.bits = {name: weight.detach().clone() for name, weight in self.weights.items()}

    def changed(self) -> list[str]:
        """The modules that are not as they were, by object and by forward."""
        return [
            name
            for name, module in self.targets.items()
            if module.weight is not self.weights[name] or "forward" in module.__dict__
        ]

    def damaged(self) -> list[str]:
        """The modules whose own weights have other bits than they had."""
        return [name for name, weight in self.weights.items() if not torch.equal(weight, self.bits[name])]


class FaultError(Exception):
    """What must not happen did."""


def verdict(path: Path, content: bytes, digest: str, state: State) -> tuple[str, str]:
    """Write a mutated file and use it every way there is: (`refused`, code), (`attached`, ""), or (`fault`, what)."""
    path.write_bytes(content)
    try:
        _refused_by_digest(path, digest)
        _imported(path)
        return _attached(path, state)
    except FaultError as fault:
        return "fault", str(fault)


def _refused_by_digest(path: Path, digest: str) -> None:
    try:
        read_spm(path, expected=digest)
    except AdapterDigestError:
        return
    raise FaultError("another file passed for the one with the digest")


def _imported(path: Path) -> None:
    try:
        _check_sound(read_foreign(path).spm)
    except AdapterError as error:
        _check_helpful(error, path)


def _attached(path: Path, state: State) -> tuple[str, str]:
    try:
        spm = read_spm(path)
        _check_sound(spm)
        with attach(state.targets, [Attached(spm, 1.0, str(path))]):
            acting = len(state.changed())
        outcome = "attached", ""
        if acting != len(spm.layers):
            raise FaultError(f"{acting} of {len(spm.layers)} layers acted")
    except AdapterError as error:
        _check_helpful(error, path)
        outcome = "refused", error.code
    if changed := state.changed():
        raise FaultError(f"{outcome[0]}, and still on {changed[0]}")
    return outcome


def _check_sound(spm: SpmFile) -> None:
    """No SPM has values that are not finite, no rank, or a scale that is not above 0."""
    for layer, (down, up, alpha) in spm.layers.items():
        if not (0 < alpha < math.inf and down.shape[0] == up.shape[1] > 0):
            raise FaultError(f"{layer} accepted with alpha {alpha}, {tuple(up.shape)} x {tuple(down.shape)}")
        if not (down.isfinite().all() and up.isfinite().all()):
            raise FaultError(f"{layer} accepted with values that are not finite")


def _check_helpful(error: AdapterError, path: Path) -> None:
    if error.where != str(path):
        raise FaultError(f"{error.code} does not name the file")
    if not error.hint or error.code == "adapter":
        raise FaultError(f"{error.code} has no remedy")
