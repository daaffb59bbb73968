"""The guard: the only place where policy, SPMs, base models, reviewers and the ledger meet."""

from safegen.guard.defaults import default_ledger, find_policy
from safegen.guard.guard import Guard
from safegen.guard.result import GeneratedImage, Generation, Membrane, Seen

__all__ = ["GeneratedImage", "Generation", "Guard", "Membrane", "Seen", "default_ledger", "find_policy"]
