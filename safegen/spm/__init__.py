"""SPM adapters: membranes, their files, their composition, the gate that opens them, the registry of shipped ones."""

from safegen.spm.calibration import Calibration
from safegen.spm.composition import attach
from safegen.spm.fitting import Resolved
from safegen.spm.membrane import Membrane, MembraneSet, Targets
from safegen.spm.registry import AdapterEntry, BaseEntry, ModelEntry, Registry
from safegen.spm.rowwise import GuidanceHalves
from safegen.spm.transport import Gate, PaperStack, unigram_overlap
from safegen.spm.updates import Attached, Rule
from safegen.spm.weights import SpmFile, read_spm, write_spm

__all__ = [
    "AdapterEntry",
    "Attached",
    "BaseEntry",
    "Calibration",
    "Gate",
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
