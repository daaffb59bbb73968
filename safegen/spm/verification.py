"""Checks a whole registry: every file that its index names, and every claim of the index that a file can prove.

Invariants: each broken thing is named; one that is broken does not hide the next; nothing is changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from safegen.errors import SafegenError
from safegen.spm.calibration import KEY, stored_calibration
from safegen.spm.index import AdapterEntry, GateSummary, ModelEntry
from safegen.spm.registry import Registry


@dataclass(frozen=True)
class Checked:
    """One thing of the index and what is wrong with it; nothing if it is whole."""

    kind: str
    id: str
    problems: tuple[str, ...]


def check_registry(registry: Registry) -> Iterator[Checked]:
    """Check everything that an index names, in its order."""
    index = registry.index
    models = {"base": index.bases, "reviewer": index.reviewers, "judge": index.judges}
    for kind, entries in models.items():
        twice = _twice([entry.id for entry in entries])
        for entry in entries:
            yield Checked(kind, entry.id, (*twice.get(entry.id, ()), *_model_problems(registry, entry)))
    twice = _twice([entry.id for entry in index.adapters])
    for adapter in index.adapters:
        yield Checked("adapter", adapter.id, (*twice.get(adapter.id, ()), *_adapter_problems(registry, adapter)))


def _twice(ids: list[str]) -> dict[str, tuple[str, ...]]:
    return {name: ("the index names it twice",) for name, count in Counter(ids).items() if count > 1}


def _model_problems(registry: Registry, entry: ModelEntry) -> Iterator[str]:
    try:
        registry.folder_of(entry)
    except SafegenError as error:
        yield str(error)


def _adapter_problems(registry: Registry, entry: AdapterEntry) -> Iterator[str]:
    bases = {base.id: base for base in registry.index.bases}
    base = bases.get(entry.base)
    if base is None:
        yield f"its base {entry.base!r} is not in the index"
    elif base.digest != entry.base_digest:
        yield f"it was trained on another version of the base {entry.base!r}"
    elif base.family != entry.family:
        yield f"its family is {entry.family!r}, its base's is {base.family!r}"
    try:
        registry.locate_file(entry.recipe)
    except SafegenError as error:
        yield f"its recipe: {error}"
    try:
        yield from _file_problems(registry, entry)
    except SafegenError as error:
        yield str(error)


def _file_problems(registry: Registry, entry: AdapterEntry) -> Iterator[str]:
    """What the index says of a file against what the file says.

    Raises:
        SafegenError: the file is missing, altered or damaged.
    """
    from safegen.spm.weights import read_spm

    spm = read_spm(registry.locate(entry), expected=entry.digest)
    ranks = {down.shape[0] for down, _, _ in spm.layers.values()}
    if ranks != {entry.rank}:
        yield f"the index states rank {entry.rank}, the file has {sorted(ranks)}"
    if spm.family and spm.family != entry.family:
        yield f"the index states the family {entry.family!r}, the file's layers are of {spm.family!r}"
    calibration = stored_calibration(spm.metadata)
    if KEY in spm.metadata and calibration is None:
        yield "the calibration in its file is not readable; `safegen spm calibrate` makes a new one"
    elif entry.calibration is not None and calibration is None:
        yield "the index states a calibration, the file has none; `safegen spm calibrate` makes one"
    elif calibration is not None and entry.calibration != GateSummary.of(calibration):
        yield "the index states another calibration than the file; `safegen spm calibrate --index` restates it"
