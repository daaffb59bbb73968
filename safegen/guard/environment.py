"""With what, and where, pictures are drawn: what a replay compares before it compares bits."""

from __future__ import annotations

import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version

_SOFTWARE = ("safegen", "torch", "diffusers", "transformers", "open_clip_torch", "nudenet")


@cache
def software() -> dict[str, str]:
    """Versions of what draws and reviews."""
    found = {}
    for name in _SOFTWARE:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found


@cache
def environment() -> dict[str, str]:
    """Where pictures are drawn, as far as their bits may depend on it."""
    import torch

    return {
        "machine": platform.machine() or "unknown",
        "processor": torch.backends.cpu.get_cpu_capability(),
        "system": platform.system() or "unknown",
        "threads": str(torch.get_num_threads()),
    }
