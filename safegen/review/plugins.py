"""Finds reviewers by name: the built-in ones, and those that other packages offer.

A package offers a reviewer as an entry point of the group `safegen.reviewers` that names a class with
`load(folder, digest) -> Reviewer`. Invariant: a built-in name is never taken over by another package.
"""

from __future__ import annotations

import difflib
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from safegen.errors import ReviewError, SafegenError
from safegen.review.reviewer import Reviewer

GROUP = "safegen.reviewers"
_BUILT_IN = {
    "open_clip": "safegen.review.open_clip_reviewer:OpenClipReviewer",
    "nudenet": "safegen.review.nudenet_reviewer:NudeNetReviewer",
}


def reviewer_names() -> tuple[str, ...]:
    """All names that a policy may use here."""
    return tuple(sorted({*_BUILT_IN, *(point.name for point in entry_points(group=GROUP))}))


def load_reviewer(name: str, *, folder: Path | None = None, digest: str | None = None) -> Reviewer:
    """Load a reviewer.

    Args:
        name: as a policy names it.
        folder: its weights, if they come from the registry.
        digest: the folder's digest, checked by whoever resolved it.

    Raises:
        ReviewError: unknown, or it cannot be loaded.
    """
    kind = _kind(name)
    try:
        loaded = kind.load(folder, digest)
    except SafegenError:
        raise
    except Exception as error:
        raise ReviewError(f"the reviewer {name!r} cannot be loaded: {error}") from error
    if not isinstance(loaded, Reviewer):
        raise ReviewError(f"what the reviewer {name!r} loads is no reviewer: it lacks `review` or `digest`")
    return loaded


def _kind(name: str) -> Any:
    if name in _BUILT_IN:
        module, _, attribute = _BUILT_IN[name].partition(":")
        return getattr(import_module(module), attribute)
    for point in entry_points(group=GROUP):
        if point.name == name:
            return point.load()
    close = difflib.get_close_matches(name, reviewer_names(), n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"known here: {', '.join(reviewer_names())}"
    raise ReviewError(f"there is no reviewer {name!r}", hint=hint)
