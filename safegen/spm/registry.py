"""The registry: what ships, where it lies, what its bytes must be, and what was measured about it.

`spm_models/index.json` names base models, adapters, reviewers and the judge. Invariant: nothing is loaded through the
registry whose digest is not the one stated there.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from safegen.data import data_folder, folder_digest
from safegen.errors import AdapterError, AdapterIntegrityError, AdapterMismatchError, ModelError, SafegenError
from safegen.spm.weights import SpmFile, read_spm

DIGEST = r"^sha256:[0-9a-f]{64}$"


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    path: str
    digest: str = Field(pattern=DIGEST)
    licence: str


EntryT = TypeVar("EntryT", bound=_Entry)


class ModelEntry(_Entry):
    """A reviewer or judge: a folder of weights, pinned by its digest."""

    measured: dict[str, float] = {}


class BaseEntry(ModelEntry):
    """A base model; `family` says which adapters may attach, `tuned_from` from which base it was fine-tuned."""

    family: str
    tuned_from: str | None = None
    size: int
    guidance: float
    steps: int


class AdapterEntry(_Entry):
    """One SPM: what it erases, what it was trained on, how, and what it was seen to do."""

    concept: str
    category: str
    phrases: tuple[str, ...]
    base: str
    base_digest: str = Field(pattern=DIGEST)
    family: str
    rank: int
    alpha: float
    recipe: str
    measured: dict[str, float] = {}


class Index(BaseModel):
    """The content of `index.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int = 1
    bases: tuple[BaseEntry, ...] = ()
    adapters: tuple[AdapterEntry, ...] = ()
    reviewers: tuple[ModelEntry, ...] = ()
    judges: tuple[ModelEntry, ...] = ()


@dataclass(frozen=True)
class Registry:
    """An index and the folder it speaks of."""

    folder: Path
    index: Index

    @classmethod
    def open(cls, folder: Path | None = None) -> Registry:
        """Read the index of a folder, the shipped one by default.

        Raises:
            AdapterIntegrityError: there is no readable index.
        """
        folder = folder or data_folder("spm_models")
        path = folder / "index.json"
        try:
            return cls(folder=folder, index=Index.model_validate_json(path.read_bytes()))
        except FileNotFoundError as error:
            raise AdapterIntegrityError(
                "the model index is missing", where=str(path), hint="reinstall safegen"
            ) from error
        except ValidationError as error:
            raise AdapterIntegrityError(f"the model index is not valid: {error}", where=str(path)) from error

    def adapter(self, name: str) -> AdapterEntry:
        """The entry of that id.

        Raises:
            AdapterError: there is none.
        """
        return _find(name, self.index.adapters, AdapterError, "adapter")

    def base(self, name: str) -> BaseEntry:
        """The entry of that id.

        Raises:
            ModelError: there is none.
        """
        return _find(name, self.index.bases, ModelError, "base model")

    def reviewer(self, name: str) -> ModelEntry:
        """The entry of that id.

        Raises:
            ModelError: there is none.
        """
        return _find(name, self.index.reviewers, ModelError, "reviewer model")

    def judge(self, name: str) -> ModelEntry:
        """The entry of that id.

        Raises:
            ModelError: there is none.
        """
        return _find(name, self.index.judges, ModelError, "judge")

    def load_adapter(self, name: str, *, base: BaseEntry) -> SpmFile:
        """Read one adapter for one base model, checked against both digests.

        Raises:
            AdapterError: unknown.
            AdapterMismatchError: made for another family of models.
            AdapterIntegrityError: missing or altered.
        """
        entry = self.adapter(name)
        if entry.family != base.family:
            raise AdapterMismatchError(
                f"adapter {name!r} is for the family {entry.family!r}, base model {base.id!r} is of {base.family!r}"
            )
        return read_spm(self.folder / entry.path, expected=entry.digest)

    def folder_of(self, entry: ModelEntry) -> Path:
        """The folder of a model, its digest checked.

        Raises:
            ModelError: missing or altered.
        """
        folder = self.folder / entry.path
        if not folder.is_dir():
            raise ModelError(f"the files of {entry.id!r} are missing", where=str(folder), hint="reinstall safegen")
        if (digest := folder_digest(folder)) != entry.digest:
            raise ModelError(
                f"the files of {entry.id!r} have digest {digest[:19]}..., the index states {entry.digest[:19]}...",
                where=str(folder),
                hint="a file was changed, added or removed; restore the folder",
            )
        return folder

    def with_entry(self, kind: str, entry: _Entry) -> Registry:
        """A registry whose index holds the entry, in place of one with the same id."""
        others = [old for old in getattr(self.index, kind) if old.id != entry.id]
        entries = tuple(sorted([*others, entry], key=lambda item: item.id))
        return Registry(folder=self.folder, index=self.index.model_copy(update={kind: entries}))

    def save(self) -> None:
        """Write the index file."""
        text = json.dumps(self.index.model_dump(mode="json"), indent=2, ensure_ascii=False)
        (self.folder / "index.json").write_text(text + "\n", encoding="utf-8")


def _find(name: str, entries: Iterable[EntryT], error: type[SafegenError], kind: str) -> EntryT:
    known = {entry.id: entry for entry in entries}
    if name in known:
        return known[name]
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(sorted(known)) or 'none'}"
    raise error(f"there is no {kind} {name!r}", hint=hint)
