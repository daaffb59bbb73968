"""Refuses a set of SPMs that holds one concept twice: it would be erased twice as strongly, and nobody would know."""

from __future__ import annotations

from collections.abc import Sequence

from safegen.errors import AdapterDuplicateError
from safegen.spm.updates import Attached


def check_distinct(spms: Sequence[Attached]) -> None:
    """Make sure that no two SPMs state the same concept, or are the same file.

    Raises:
        AdapterDuplicateError: two do; the message names both.
    """
    known: dict[str, Attached] = {}
    for item in spms:
        concept = item.spm.metadata.get("concept", "").strip().casefold()
        for key in filter(None, (concept, item.spm.digest)):
            other = known.setdefault(key, item)
            if other is not item:
                names = f"{other.name or 'one SPM'} and {item.name or 'another'}"
                raise AdapterDuplicateError(
                    f"{names} erase the same concept{concept and f', {concept!r}'}",
                    where=item.name,
                    hint="attach one of them, at the permeability that both should have together",
                )
