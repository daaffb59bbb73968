"""What is measured: a way to draw a prompt, be it the bare model, the model behind SPMs, or another way to erase.

Invariant: a picture is a function of (base, sampler, state, prompt, seed), where a method's state for a prompt says in
a few words what the method does to the model for it; the empty state is the bare model, bit for bit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import torch

from safegen.spm import Attached, SpmFile, attach

if TYPE_CHECKING:
    from PIL.Image import Image

    from safegen.models import BaseModel, DrawRequest

BARE = ""


class Method(Protocol):
    """One way to draw."""

    name: str

    def states(self, prompts: Sequence[str]) -> list[str]:
        """What is done to the model for each prompt; `BARE` for nothing. Prompts of one state may share a batch."""

    def draw(self, state: str, request: DrawRequest) -> Sequence[Image]:
        """Draw prompts that are all of that state."""


class Bare:
    """The base model as it is."""

    name = "bare"

    def __init__(self, base: BaseModel) -> None:
        self._base = base

    def states(self, prompts: Sequence[str]) -> list[str]:
        """Nothing is done to any prompt."""
        return [BARE] * len(prompts)

    def draw(self, state: str, request: DrawRequest) -> Sequence[Image]:  # noqa: ARG002 - there is one state
        """Draw with the base model."""
        return self._base.draw(request).images


class Opener(Protocol):
    """A gate: which SPMs open for a prompt, and how far."""

    def __call__(self, prompts: Sequence[str]) -> list[tuple[Attached, ...]]:
        """For each prompt the SPMs with a permeability above 0."""


class Membranes:
    """The base model behind SPMs, opened by a gate."""

    def __init__(self, base: BaseModel, opener: Opener, *, name: str = "SPM") -> None:
        self.name = name
        self._base, self._opener = base, opener
        self._open: dict[str, tuple[Attached, ...]] = {BARE: ()}
        self._fingerprints: dict[int, tuple[SpmFile, str]] = {}

    def states(self, prompts: Sequence[str]) -> list[str]:
        """Digest and permeability of what opens."""
        return [self._state(opened) for opened in self._opener(prompts)]

    def draw(self, state: str, request: DrawRequest) -> Sequence[Image]:
        """Draw with that state's SPMs attached."""
        with attach(self._base.targets(), self._open[state]):
            return self._base.draw(request).images

    def _state(self, opened: Sequence[Attached]) -> str:
        active = sorted((item for item in opened if item.opens), key=lambda item: self._known(item.spm))
        state = "+".join(f"{self._known(item.spm)}@{item.gammas!r}" for item in active)
        self._open[state] = tuple(active)
        return state

    def _known(self, spm: SpmFile) -> str:
        # The SPM itself is kept beside its fingerprint, so that its id is not given to another one.
        if id(spm) not in self._fingerprints:
            self._fingerprints[id(spm)] = spm, fingerprint(spm)
        return self._fingerprints[id(spm)][1]


def fingerprint(spm: SpmFile) -> str:
    """`sha256:<hex>` of an SPM's numbers: files that differ in their metadata alone draw the same pictures."""
    digest = hashlib.sha256()
    for name, (down, up, alpha) in sorted(spm.layers.items()):
        digest.update(f"{name} {alpha!r} {tuple(down.shape)} {tuple(up.shape)} ".encode())
        for part in (down, up):
            digest.update(part.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return f"sha256:{digest.hexdigest()}"


def always(*spms: Attached) -> Opener:
    """No gate: the same SPMs, equally far open, whatever the prompt."""
    return lambda prompts: [spms] * len(prompts)
