"""Where signed heads go: the file `checkpoint` in the ledger's folder, witnesses, and anything else that takes them.

Invariants: only what is durable is published; the size of the published file never falls, whoever publishes; a place
that fails holds up neither the ledger nor the other places, and is told the next head instead.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

from safegen.errors import LedgerTamperedError, LedgerWriteError, SafegenError
from safegen.ledger.checkpoint import Checkpoint, parse_checkpoint
from safegen.ledger.events import warn
from safegen.ledger.files import sync_folder, write_draft

_T = TypeVar("_T")
Prove = Callable[[int, int], list[bytes]]
"""Gives the consistency proof between two sizes of the ledger."""


class CheckpointSink(Protocol):
    """A place that checkpoints go to: a file, a bucket, a web page."""

    def publish(self, checkpoint: Checkpoint) -> None:
        """Take a checkpoint. Sizes never fall, and some checkpoints may be left out.

        Raises:
            SafegenError: if the place does not take it.
            OSError: likewise.
        """
        ...


class Witness(Protocol):
    """Somebody independent who signs that a checkpoint extends all that they have seen of this ledger."""

    def cosign(self, checkpoint: Checkpoint, prove: Prove) -> str:
        """The line of the witness's signature.

        Raises:
            SafegenError: if there is none to have.
            OSError: likewise.
        """
        ...


class FileSink:
    """A file that holds the largest checkpoint that was published to it.

    Args:
        path: the file.
        alone: gives a context in which nobody else publishes to it; by default one process is taken to.
    """

    def __init__(self, path: Path, alone: Callable[[], AbstractContextManager[object]] = nullcontext) -> None:
        self._path = path
        self._alone = alone

    def publish(self, checkpoint: Checkpoint) -> None:
        """Replace the file at one stroke, unless it holds a larger checkpoint already.

        Raises:
            LedgerWriteError: if it cannot be written.
        """
        try:
            draft = write_draft(self._path, checkpoint.text, mode=0o644)
            try:
                with self._alone():
                    if self._size() <= checkpoint.size:
                        draft.replace(self._path)
            finally:
                draft.unlink(missing_ok=True)
            sync_folder(self._path.parent)
        except OSError as error:
            raise LedgerWriteError(
                f"cannot publish the checkpoint: {error.strerror}",
                where=str(self._path),
                hint="free the disk or its mode",
            ) from error

    def _size(self) -> int:
        """Size of the checkpoint in the file; -1 if there is none."""
        try:
            return parse_checkpoint(self._path.read_text(encoding="utf-8")).size
        except (FileNotFoundError, ValueError, LedgerTamperedError):
            return -1


class Publisher:
    """Publishes checkpoints at once, or soon and in the background, where only the newest counts.

    Args:
        folder: the ledger's own file, which must take every checkpoint that is published at once.
        prove: for witnesses.
        witnesses: asked in turn; what they sign is added to the checkpoint.
        sinks: further places, which get it with those signatures.
    """

    def __init__(
        self,
        folder: CheckpointSink,
        prove: Prove,
        *,
        witnesses: Sequence[Witness] = (),
        sinks: Sequence[CheckpointSink] = (),
    ) -> None:
        self._folder, self._prove = folder, prove
        self._witnesses, self._sinks = tuple(witnesses), tuple(sinks)
        self._lock = threading.Lock()
        self._next: Checkpoint | None = None
        self._running = False
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="safegen-checkpoint")

    def now(self, checkpoint: Checkpoint) -> None:
        """Publish to the ledger's folder before this returns, and everywhere else soon.

        Raises:
            LedgerWriteError: if the folder does not take it.
        """
        self._folder.publish(checkpoint)
        if self._witnesses or self._sinks:
            self.soon(checkpoint)

    def soon(self, checkpoint: Checkpoint) -> None:
        """Publish in the background; what fails is warned about."""
        with self._lock:
            if self._next is None or self._next.size <= checkpoint.size:
                self._next = checkpoint
            if self._running:
                return
            self._running = True
        self._thread.submit(self._run)

    def close(self) -> None:
        """Wait until all is published."""
        self._thread.shutdown(wait=True)

    def _run(self) -> None:
        while True:
            with self._lock:
                checkpoint, self._next = self._next, None
                self._running = checkpoint is not None
            if checkpoint is None:
                return
            self._everywhere(checkpoint)

    def _everywhere(self, checkpoint: Checkpoint) -> None:
        _tried(self._folder, partial(self._folder.publish, checkpoint))
        lines = [_tried(one, partial(one.cosign, checkpoint, self._prove)) for one in self._witnesses]
        signed = replace(checkpoint, text=checkpoint.text + "".join(line for line in lines if line))
        if signed != checkpoint:
            _tried(self._folder, partial(self._folder.publish, signed))
        for sink in self._sinks:
            _tried(sink, partial(sink.publish, signed))


def _tried(place: object, step: Callable[[], _T]) -> _T | None:
    """What a step gives, or None and a warning."""
    try:
        return step()
    except (SafegenError, OSError) as error:
        warn("ledger.checkpoint_not_taken", place=str(place), problem=str(error))
        return None
