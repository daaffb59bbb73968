"""Where a registry's files come from: a folder, or a repository of the Hugging Face Hub, behind one protocol.

Invariants: a source gives files and judges nothing; whoever asked checks the digest before a byte is parsed; a hub
repository is pinned to one commit, never to a branch that moves; what is half fetched is not given.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Protocol

from safegen.errors import AdapterMissingError, AdapterSourceError

HUB = "hub:"
_COMMIT = re.compile(r"^[0-9a-f]{40}$")
_ADDRESS = re.compile(r"^hub:(?P<repository>[\w.-]+/[\w.-]+)@(?P<revision>\w+)$")


class Source(Protocol):
    """A place that holds an index and what it names."""

    def file(self, path: str) -> Path:
        """A local copy of one file.

        Args:
            path: relative to the index, in POSIX notation.

        Raises:
            AdapterMissingError: there is none.
            AdapterSourceError: it could not be fetched.
        """

    def folder(self, path: str) -> Path:
        """A local copy of a folder with all its files.

        Raises:
            AdapterMissingError: there is none.
            AdapterSourceError: it could not be fetched.
        """


@dataclass(frozen=True)
class LocalFolder:
    """A folder of this machine."""

    root: Path

    def file(self, path: str) -> Path:
        """The file itself."""
        if not (found := self.root / path).is_file():
            raise AdapterMissingError("the file is missing", where=str(found), hint="reinstall, or check the index")
        return found

    def folder(self, path: str) -> Path:
        """The folder itself."""
        if not (found := self.root / path).is_dir():
            raise AdapterMissingError("the folder is missing", where=str(found), hint="reinstall, or check the index")
        return found


@dataclass(frozen=True)
class HubRepository:
    """A model repository of the Hugging Face Hub at one commit, kept in the hub library's own cache.

    Attributes:
        repository: `owner/name`.
        revision: the commit's 40 hex digits.
        offline: use the cache alone.
    """

    repository: str
    revision: str
    offline: bool = False

    def __post_init__(self) -> None:
        """Refuse what moves."""
        if not _COMMIT.match(self.revision):
            raise AdapterSourceError(
                f"{self.revision!r} is no commit of {self.repository}",
                hint="pin the repository by the 40 hex digits of a commit; branches and tags can move",
            )

    @classmethod
    def parse(cls, address: str) -> HubRepository:
        """From `hub:owner/name@commit`.

        Raises:
            AdapterSourceError: not of that form.
        """
        match = _ADDRESS.match(address)
        if match is None:
            raise AdapterSourceError(f"{address!r} is no address on the hub", hint="write hub:owner/name@commit")
        return cls(match["repository"], match["revision"])

    def file(self, path: str) -> Path:
        """A file from the cache, fetched first if it is not there; an interrupted download goes on where it was."""
        hub = _hub()
        try:
            return Path(
                hub.hf_hub_download(self.repository, path, revision=self.revision, local_files_only=self.offline)
            )
        except Exception as error:
            raise self._failure(path, error) from error

    def folder(self, path: str) -> Path:
        """A folder, likewise."""
        hub = _hub()
        try:
            root = hub.snapshot_download(
                self.repository,
                revision=self.revision,
                allow_patterns=[f"{path}/**"],
                local_files_only=self.offline,
            )
        except Exception as error:
            raise self._failure(path, error) from error
        return LocalFolder(Path(root)).folder(path)

    def _failure(self, path: str, error: Exception) -> AdapterMissingError | AdapterSourceError:
        from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

        where = f"{HUB}{self.repository}@{self.revision[:12]}/{path}"
        if isinstance(error, EntryNotFoundError) and not isinstance(error, LocalEntryNotFoundError):
            return AdapterMissingError("the repository has no such file", where=where, hint="check the index")
        hint = "run again with a connection: a download goes on where it was interrupted"
        return AdapterSourceError(f"the file could not be fetched: {error}", where=where, hint=hint)


def _hub() -> ModuleType:
    try:
        import huggingface_hub
    except ImportError as error:
        raise AdapterSourceError(
            "the huggingface_hub package is not installed", hint="pip install 'safegen[hub]'"
        ) from error
    return huggingface_hub
