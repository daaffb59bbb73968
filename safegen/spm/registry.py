"""The registry: what ships, where it lies, what its bytes must be, and what was measured about it.

`spm_models/index.json` names base models, adapters, reviewers and the judge. Invariants: nothing is loaded through the
registry whose digest is not the one stated there, and no byte is parsed before that is known; a folder and a repository
of the hub are read through one protocol.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import ValidationError

from safegen.data import data_folder, file_digest, folder_digest
from safegen.errors import (
    AdapterDigestError,
    AdapterError,
    AdapterFamilyError,
    AdapterIntegrityError,
    AdapterMissingError,
    ModelError,
    SafegenError,
)
from safegen.spm.calibration import stored_calibration
from safegen.spm.index import AdapterEntry, BaseEntry, Entry, GateSummary, Index, ModelEntry
from safegen.spm.sources import HUB, HubRepository, LocalFolder, Source

if TYPE_CHECKING:
    from safegen.spm.weights import SpmFile

INDEX = "index.json"
EntryT = TypeVar("EntryT", bound=Entry)


@dataclass(frozen=True)
class Registry:
    """An index and the folder it speaks of.

    Attributes:
        folder: where the index lies on this machine.
        index: its content.
        source: where what it names comes from; the folder itself if None.
    """

    folder: Path
    index: Index
    source: Source | None = None

    @classmethod
    def open(cls, folder: Path | None = None) -> Registry:
        """Read the index of a folder, the shipped one by default.

        Raises:
            AdapterIntegrityError: there is no readable index.
        """
        return cls.from_source(LocalFolder(folder or data_folder("spm_models")))

    @classmethod
    def at(cls, place: str | Path, *, digest: str | None = None) -> Registry:
        """Read the index at a place.

        Args:
            place: a folder, or `hub:owner/name@commit`.
            digest: what the index itself must have, `sha256:<hex>`.

        Raises:
            AdapterIntegrityError: there is no readable index, or it has another digest.
            AdapterSourceError: it could not be fetched.
        """
        hub = isinstance(place, str) and place.startswith(HUB)
        return cls.from_source(HubRepository.parse(str(place)) if hub else LocalFolder(Path(place)), digest=digest)

    @classmethod
    def from_source(cls, source: Source, *, digest: str | None = None) -> Registry:
        """Read the index of a source; see `at`."""
        path = source.file(INDEX)
        content = path.read_bytes()
        if digest is not None and (found := f"sha256:{hashlib.sha256(content).hexdigest()}") != digest:
            raise _altered("the model index", found, digest, path)
        try:
            return cls(folder=path.parent, index=Index.model_validate_json(content), source=source)
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

    def locate(self, entry: AdapterEntry) -> Path:
        """The file of an adapter, fetched if need be; its digest is not checked.

        Raises:
            AdapterMissingError: there is none.
            AdapterSourceError: it could not be fetched.
        """
        return self.locate_file(entry.path)

    def locate_file(self, path: str) -> Path:
        """A file that the index names, e.g. a recipe; see `locate`."""
        return self._source.file(path)

    def check_adapter(self, name: str, *, base: BaseEntry) -> Path:
        """The file of one adapter, whose family and digest hold; nothing in it is parsed.

        Raises:
            AdapterError: as `load_adapter`.
        """
        entry = self._fitting(name, base)
        path = self.locate(entry)
        if (found := file_digest(path)) != entry.digest:
            raise _altered("the adapter file", found, entry.digest, path)
        return path

    def load_adapter(self, name: str, *, base: BaseEntry) -> SpmFile:
        """Read one adapter for one base model, checked against both digests.

        Raises:
            AdapterError: unknown.
            AdapterMismatchError: made for another family of models.
            AdapterIntegrityError: missing or altered.
        """
        from safegen.spm.weights import read_spm

        entry = self._fitting(name, base)
        return read_spm(self.locate(entry), expected=entry.digest)

    def _fitting(self, name: str, base: BaseEntry) -> AdapterEntry:
        entry = self.adapter(name)
        if entry.family != base.family:
            raise AdapterFamilyError(
                f"adapter {name!r} is for the family {entry.family!r}, base model {base.id!r} is of {base.family!r}"
            )
        return entry

    def folder_of(self, entry: ModelEntry) -> Path:
        """The folder of a model, its digest checked.

        Raises:
            ModelError: missing or altered.
        """
        try:
            folder = self._source.folder(entry.path)
        except AdapterMissingError as error:
            where = str(self.folder / entry.path)
            raise ModelError(f"the files of {entry.id!r} are missing", where=where, hint="reinstall safegen") from error
        if (digest := folder_digest(folder)) != entry.digest:
            raise ModelError(
                f"the files of {entry.id!r} have digest {digest[:19]}..., the index states {entry.digest[:19]}...",
                where=str(folder),
                hint="a file was changed, added or removed; restore the folder",
            )
        return folder

    @property
    def _source(self) -> Source:
        return self.source or LocalFolder(self.folder)

    def with_entry(self, kind: str, entry: Entry) -> Registry:
        """A registry whose index holds the entry, in place of one with the same id.

        An adapter's entry states what its file says of its gate.
        """
        file = self.folder / entry.path
        if isinstance(entry, AdapterEntry) and file.is_file():
            entry = entry.model_copy(update={"calibration": _gate_of(file, entry.digest)})
        others = [old for old in getattr(self.index, kind) if old.id != entry.id]
        entries = tuple(sorted([*others, entry], key=lambda item: item.id))
        return Registry(folder=self.folder, index=self.index.model_copy(update={kind: entries}))

    def save(self) -> None:
        """Write the index file."""
        text = json.dumps(self.index.model_dump(mode="json"), indent=2, ensure_ascii=False)
        (self.folder / "index.json").write_text(text + "\n", encoding="utf-8")


def _gate_of(file: Path, digest: str) -> GateSummary | None:
    from safegen.spm.weights import read_spm

    calibration = stored_calibration(read_spm(file, expected=digest).metadata)
    return GateSummary.of(calibration) if calibration else None


def _altered(what: str, found: str, stated: str, path: Path) -> AdapterDigestError:
    return AdapterDigestError(
        f"{what} has digest {found[:19]}..., the index states {stated[:19]}...",
        where=str(path),
        hint="the file was changed; restore it, or re-index it if the change is yours",
    )


def _find(name: str, entries: Iterable[EntryT], error: type[SafegenError], kind: str) -> EntryT:
    known = {entry.id: entry for entry in entries}
    if name in known:
        return known[name]
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(sorted(known)) or 'none'}"
    raise error(f"there is no {kind} {name!r}", hint=hint)
