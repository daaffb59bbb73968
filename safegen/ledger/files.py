"""Small files that appear whole and durable or not at all.

Invariants: a reader never sees half a file; a file made with `create_whole` is never overwritten.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def create_whole(path: Path, text: str, *, mode: int) -> None:
    """Create a file that appears with its whole content or not at all.

    Raises:
        FileExistsError: if the file exists.
        OSError: if it cannot be written.
    """
    draft = write_draft(path, text, mode=mode)
    try:
        os.link(draft, path)
    finally:
        draft.unlink()
    sync_folder(path.parent)


@contextmanager
def draft_of(path: Path, *, mode: int = 0o644) -> Iterator[IO[bytes]]:
    """A fresh file beside `path` that replaces it, whole and durable, if the block ends well.

    Raises:
        OSError: if it cannot be written.
    """
    draft = _fresh_name(path)
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    sync_folder(path.parent)


def write_draft(path: Path, text: str, *, mode: int) -> Path:
    """Write a text durably into a fresh file beside `path`, and say where.

    Raises:
        OSError: if it cannot be written.
    """
    draft = _fresh_name(path)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    return draft


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable; where folders cannot be opened (Windows) the system does it.

    Raises:
        OSError: if the disk fails.
    """
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _fresh_name(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
