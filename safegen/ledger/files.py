"""Small files that appear whole and durable or not at all.

Invariants: a reader never sees half a file; a file made with `create_whole` is never overwritten.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

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


def replace_whole(path: Path, text: str, *, mode: int) -> None:
    """Create or replace a file at one stroke.

    Raises:
        OSError: if it cannot be written.
    """
    write_draft(path, text, mode=mode).replace(path)


def write_draft(path: Path, text: str, *, mode: int) -> Path:
    """Write a text durably into a fresh file beside `path`, and say where.

    Raises:
        OSError: if it cannot be written.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    return draft
