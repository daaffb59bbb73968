"""Finds reviewers by name: the built-in ones, and those that other packages offer.

A package offers a reviewer as an entry point of the group `safegen.reviewers` that names a class with
`load(folder, *, digest) -> Reviewer`. Invariants: a built-in name is never taken over by another package, and no name
by two; what is loaded has a name and a digest before it may look at anything.
"""

from __future__ import annotations

import difflib
import re
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import MappingProxyType
from typing import Any

from safegen.errors import ReviewError, SafegenError
from safegen.review.reviewer import Reviewer

GROUP = "safegen.reviewers"
"""The entry-point group."""
_BUILT_IN = MappingProxyType(
    {
        "open_clip": "safegen.review.open_clip_reviewer:OpenClipReviewer",
        "nudenet": "safegen.review.nudenet_reviewer:NudeNetReviewer",
    }
)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def reviewer_names() -> tuple[str, ...]:
    """All names that a policy may use here."""
    return tuple(sorted({*_BUILT_IN, *(point.name for point in entry_points(group=GROUP))}))


def reviewer_class(name: str) -> type[Any]:
    """The class behind a name; it has `load(folder, *, digest)`.

    Raises:
        ReviewError: unknown, claimed twice, or its package cannot be imported.
    """
    point = _entry_point(name)
    try:
        found = point.load()
    except Exception as error:
        raise ReviewError(
            f"the reviewer {name!r} cannot be imported: {error}", where=point.value, hint="reinstall its package"
        ) from error
    if not isinstance(found, type) or not callable(getattr(found, "load", None)):
        raise ReviewError(f"the reviewer {name!r} is no class with a `load`", where=point.value)
    return found


def load_reviewer(name: str, *, folder: Path | None = None, digest: str | None = None) -> Reviewer:
    """Load a reviewer.

    Args:
        name: as a policy names it.
        folder: its weights, if they come from the registry.
        digest: the folder's digest, checked by whoever resolved it.

    Raises:
        ReviewError: unknown, or it cannot be loaded.
    """
    kind = reviewer_class(name)
    try:
        loaded = kind.load(folder, digest=digest)
    except SafegenError:
        raise
    except Exception as error:
        raise ReviewError(f"the reviewer {name!r} cannot be loaded: {error}") from error
    if not isinstance(loaded, Reviewer):
        raise ReviewError(f"what the reviewer {name!r} loads is no reviewer: it lacks `name`, `digest` or `review`")
    if not _DIGEST.fullmatch(str(loaded.digest)):
        raise ReviewError(f"the reviewer {name!r} states the digest {loaded.digest!r}, which is no `sha256:<hex>`")
    return loaded


def _entry_point(name: str) -> EntryPoint:
    """The one thing that a name stands for."""
    offered = {point.value: point for point in entry_points(group=GROUP, name=name)}
    if name in _BUILT_IN:
        offered[_BUILT_IN[name]] = EntryPoint(name, _BUILT_IN[name], GROUP)
    if len(offered) > 1:
        raise ReviewError(
            f"the reviewer name {name!r} is claimed by {' and '.join(sorted(offered))}",
            hint="uninstall one of the packages; built-in names cannot be taken over",
        )
    if offered:
        return next(iter(offered.values()))
    close = difflib.get_close_matches(name, reviewer_names(), n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"known here: {', '.join(reviewer_names())}"
    raise ReviewError(f"there is no reviewer {name!r}", hint=hint)
