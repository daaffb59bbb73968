"""Safe text-to-image generation: what a policy forbids is erased inside the model, reviewed, and accounted for.

    import safegen

    result = safegen.generate("a cat in the style of noto")

Invariant: importing this package loads neither torch nor diffusers; names are resolved when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from safegen.api import generate as generate
    from safegen.errors import SafegenError as SafegenError
    from safegen.guard import Generation as Generation
    from safegen.guard import Guard as Guard
    from safegen.policy import Policy as Policy
    from safegen.policy import load_policy_file as load_policy_file

_HOMES = {
    "Generation": "safegen.guard",
    "Guard": "safegen.guard",
    "Policy": "safegen.policy",
    "SafegenError": "safegen.errors",
    "generate": "safegen.api",
    "load_policy_file": "safegen.policy",
}

__all__ = ["Generation", "Guard", "Policy", "SafegenError", "generate", "load_policy_file"]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        message = f"module 'safegen' has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    return sorted(__all__)
