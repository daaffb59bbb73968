"""`safegen.generate()`: one call for an app that needs one policy and one ledger.

Invariant: guards are opened once for each (policy, ledger) and shared; whoever wants to hold one uses `Guard`.
"""

from __future__ import annotations

import threading
from functools import lru_cache
from pathlib import Path
from typing import Any

from safegen.guard import Generation, Guard

_LOCK = threading.Lock()


def generate(
    prompt: str, *, policy: str | Path = "default", ledger: str | Path | None = None, **options: Any
) -> Generation:
    """Draw images of a prompt under a policy.

    Args:
        prompt: what to draw.
        policy: the path of a policy, or the name of a shipped one.
        ledger: the ledger's folder; one of the user's own by default.
        **options: as `Guard.generate` takes them: `n`, `seed`, `negative_prompt`, `width`, `height`, `steps`,
            `guidance`, `audience`, `progress`.

    Returns:
        Images with their evidence, or a refusal; never an exception for a refusal.

    Raises:
        SafegenError: the request, the policy, a model or the ledger is broken.
    """
    with _LOCK:
        guard = _guard(str(policy), str(ledger) if ledger is not None else None)
    return guard.generate(prompt, **options)


@lru_cache(maxsize=8)
def _guard(policy: str, ledger: str | None) -> Guard:
    return Guard.open(policy, ledger=Path(ledger) if ledger is not None else None)
