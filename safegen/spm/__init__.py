"""SPM adapters: membranes, their files, their composition, the gate that opens them, the registry of shipped ones.

Invariant: importing this package loads no torch, so that a registry can be asked, and a request refused, without it;
names are resolved when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from safegen.spm.calibration import Calibration as Calibration
    from safegen.spm.composition import attach as attach
    from safegen.spm.fitting import Resolved as Resolved
    from safegen.spm.index import AdapterEntry as AdapterEntry
    from safegen.spm.index import BaseEntry as BaseEntry
    from safegen.spm.index import ModelEntry as ModelEntry
    from safegen.spm.membrane import Membrane as Membrane
    from safegen.spm.membrane import MembraneSet as MembraneSet
    from safegen.spm.membrane import Targets as Targets
    from safegen.spm.registry import Registry as Registry
    from safegen.spm.rowwise import GuidanceHalves as GuidanceHalves
    from safegen.spm.transport import PaperStack as PaperStack
    from safegen.spm.transport import unigram_overlap as unigram_overlap
    from safegen.spm.updates import Attached as Attached
    from safegen.spm.updates import Rule as Rule
    from safegen.spm.weights import SpmFile as SpmFile
    from safegen.spm.weights import read_spm as read_spm
    from safegen.spm.weights import write_spm as write_spm

_HOMES = {
    "AdapterEntry": "index",
    "Attached": "updates",
    "BaseEntry": "index",
    "Calibration": "calibration",
    "GuidanceHalves": "rowwise",
    "Membrane": "membrane",
    "MembraneSet": "membrane",
    "ModelEntry": "index",
    "PaperStack": "transport",
    "Registry": "registry",
    "Resolved": "fitting",
    "Rule": "updates",
    "SpmFile": "weights",
    "Targets": "membrane",
    "attach": "composition",
    "read_spm": "weights",
    "unigram_overlap": "transport",
    "write_spm": "weights",
}

__all__ = [
    "AdapterEntry",
    "Attached",
    "BaseEntry",
    "Calibration",
    "GuidanceHalves",
    "Membrane",
    "MembraneSet",
    "ModelEntry",
    "PaperStack",
    "Registry",
    "Resolved",
    "Rule",
    "SpmFile",
    "Targets",
    "attach",
    "read_spm",
    "unigram_overlap",
    "write_spm",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        message = f"module 'safegen.spm' has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(importlib.import_module(f"safegen.spm.{home}"), name)
