"""What the pages of one console share: the ledger, its index, its key, images and the verification under way.

Invariants: everything here is safe to use from many threads; the indexer is the only one that writes, and it writes
the index alone.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from safegen.errors import ConsoleError, SafegenError
from safegen.ledger import LedgerReader, VerifierKey, read_public_key
from safegen.ledger.folder import open_store
from safegen.serve.console.images import ImageFolder
from safegen.serve.console.index import IndexFile, IndexState, Search, index_path, update_index
from safegen.serve.console.verification import VerificationJob

_LOOK_SECONDS = 2.0
"""How often the indexer looks whether the ledger has grown."""


class Console:
    """One ledger, as the console shows it. Close it to stop its threads."""

    def __init__(
        self,
        folder: Path,
        *,
        key: VerifierKey | None = None,
        images: Path | None = None,
        index: Path | None = None,
        known_checkpoints: tuple[str, ...] = (),
    ) -> None:
        """Open a ledger for looking at.

        Args:
            folder: of the ledger.
            key: the key that the auditor trusts; the one beside the ledger by default, which proves less.
            images: folder of released images, found by their digest.
            index: file of the query index; by default one in the user's cache.
            known_checkpoints: checkpoints that the auditor kept.

        Raises:
            LedgerError: there is no ledger, or no key.
            ConsoleError: the folder of images is none, or the index cannot be made.
        """
        self.folder = folder
        self.own_key = key is None
        self.key = key or read_public_key(folder)
        self.images = ImageFolder(images) if images is not None else None
        self._store = open_store(folder, read_only=True)
        self.reader = LedgerReader(self._store, folder)
        self._index = IndexFile(index or index_path(folder, str(self.key)))
        self._index.prepare()
        self._state = IndexState(0, self.reader.size)
        self._problem: SafegenError | None = None
        self.verification = VerificationJob(folder, self.key, known_checkpoints)
        self._stopping = threading.Event()
        self._indexer = threading.Thread(target=self._follow, name="console-indexer", daemon=True)

    def start(self) -> None:
        """Begin to index, and to follow the ledger as it grows."""
        self._indexer.start()

    def index_now(self) -> None:
        """Index everything before returning.

        Raises:
            SafegenError: the ledger or the index fails.
        """
        self._state = update_index(self._store, self._index, progress=self._note)

    @property
    def state(self) -> IndexState:
        """How far the index has come."""
        return self._state

    @property
    def problem(self) -> SafegenError | None:
        """Why the indexer could not go on when it last tried."""
        return self._problem

    @contextmanager
    def search(self) -> Iterator[Search]:
        """A look into one state of the index.

        Raises:
            ConsoleError: the index is not usable at this moment.
        """
        with self._index.reading() as connection:
            yield Search(connection)

    def close(self) -> None:
        """Stop the indexer and the verification, and let go of the files."""
        self._stopping.set()
        if self._indexer.is_alive():
            self._indexer.join(timeout=30)
        self.verification.stop()
        self.reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _follow(self) -> None:
        while not self._stopping.is_set():
            try:
                if self.reader.size != self._state.indexed or self._problem is not None:
                    update_index(self._store, self._index, progress=self._note, stop=self._stopping.is_set)
                self._problem = None
            except SafegenError as error:
                self._problem = error
            except Exception as error:
                self._problem = ConsoleError(f"the indexer failed: {type(error).__name__}: {error}")
                raise
            self._stopping.wait(_LOOK_SECONDS)

    def _note(self, indexed: int, size: int) -> None:
        self._state = IndexState(indexed, size)
