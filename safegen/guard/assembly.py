"""Loads what a decision needs, when it is first needed: the base model, the bundle's adapters, the reviewers.

Invariants: everything comes through the registry and has the digest stated there; what is missing or does not fit is
an error, never a silent pass; a refused request loads nothing, torch included.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING

from safegen.errors import AdapterDuplicateError, PolicyError
from safegen.guard.request import Canvas
from safegen.policy import BundleItem, Policy

if TYPE_CHECKING:
    from safegen.guard.gate import Gatekeeper
    from safegen.models import BaseModel
    from safegen.review import Reviewer
    from safegen.spm import Registry, SpmFile


class Assembly:
    """The parts of one guard, each loaded once."""

    def __init__(self, registry: Registry, base: str, reviewers: Mapping[str, Reviewer] | None = None) -> None:
        self.registry = registry
        self.entry = registry.base(base)
        self._reviewers: dict[str, Reviewer] = dict(reviewers or {})
        self._adapters: dict[str, SpmFile] = {}
        self._lock = threading.RLock()

    @property
    def canvas(self) -> Canvas:
        """The sizes that the base model draws."""
        size = self.entry.size
        return Canvas(size=size, multiple=16 if size < 256 else 64, smallest=size // 2, largest=2 * size)  # noqa: PLR2004

    @cached_property
    def base(self) -> BaseModel:
        """The base model.

        Raises:
            ModelError: missing, altered or unreadable.
        """
        from safegen.models import load_base

        with self._lock:
            return load_base(self.registry.folder_of(self.entry), digest=self.entry.digest)

    @cached_property
    def gatekeeper(self) -> Gatekeeper:
        """Facilitated Transport for the base model."""
        from safegen.guard.gate import Gatekeeper

        return Gatekeeper(self.base)

    def adapter(self, name: str) -> SpmFile:
        """One SPM, checked against the registry.

        Raises:
            AdapterError: unknown, missing, altered, or of another family.
        """
        with self._lock:
            if name not in self._adapters:
                self._adapters[name] = self.registry.load_adapter(name, base=self.entry)
            return self._adapters[name]

    def bundle(self, items: tuple[BundleItem, ...]) -> list[tuple[BundleItem, SpmFile]]:
        """Each item of a bundle with its SPM.

        Raises:
            AdapterError: as `adapter`.
        """
        return [(item, self.adapter(item.adapter)) for item in items]

    def reviewer(self, name: str) -> Reviewer:
        """One reviewer, loaded from the registry or from its package.

        Raises:
            ReviewError: unknown, or it cannot be loaded.
            ModelError: its files are missing or altered.
        """
        from safegen.review import load_reviewer

        with self._lock:
            if name not in self._reviewers:
                known = {entry.id: entry for entry in self.registry.index.reviewers}
                # A fine-tuned base draws the same things, so its parent's reviewer knows them.
                entry = known.get(f"{self.entry.id}/{name}") or known.get(f"{self.entry.tuned_from}/{name}")
                folder = self.registry.folder_of(entry) if entry else None
                self._reviewers[name] = load_reviewer(name, folder=folder, digest=entry.digest if entry else None)
            return self._reviewers[name]

    def check(self, policy: Policy) -> None:
        """Make sure that a policy can be carried out here, before the first request under it.

        Raises:
            PolicyError: it is for another base model.
            AdapterError: an adapter that it names does not exist or does not fit, or two concepts name the same one.
        """
        if policy.base != self.entry.id:
            raise PolicyError(
                f"the policy is for the base model {policy.base!r}; this guard runs {self.entry.id!r}",
                hint="open another guard for it",
            )
        owners: dict[str, str] = {}
        for concept in policy.concepts:
            if concept.adapter:
                self.registry.check_adapter(concept.adapter, base=self.entry)
                if (owner := owners.setdefault(concept.adapter, concept.name)) != concept.name:
                    raise AdapterDuplicateError(
                        f"the concepts {owner!r} and {concept.name!r} name the same adapter {concept.adapter!r}",
                        hint="make the one's words phrases of the other; a prompt with both would erase it twice",
                    )
