"""Images of a folder, found by the digest that a record states.

Invariants: nothing is served that does not have, at that moment, the digest that was asked for, nor anything but a
PNG, JPEG or WebP by its first bytes; names of files mean nothing, and links out of the folder are not followed.
"""

from __future__ import annotations

import hashlib
import threading
import time
from pathlib import Path

from safegen.errors import ConsoleError

_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp"})
_KINDS = ((b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"))
_LARGEST = 64 << 20
_LOOK_SECONDS = 5.0
"""How long what was found in the folder is taken to be all that there is."""


class ImageFolder:
    """A folder of images. Files are read once, when they are first seen, to learn their digests."""

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise ConsoleError("there is no folder of images here", where=str(folder))
        self._folder = folder.resolve()
        self._lock = threading.Lock()
        self._known: dict[Path, tuple[tuple[int, int], str]] = {}
        self._paths: dict[str, Path] = {}
        self._looked = float("-inf")

    def has(self, digest: str) -> bool:
        """Whether a file with this SHA-256 (hex) is there."""
        return self._find(digest) is not None

    def read(self, digest: str) -> tuple[bytes, str] | None:
        """The bytes of the image with this SHA-256 (hex), and their media type; None if there is none."""
        path = self._find(digest)
        try:
            content = path.read_bytes() if path is not None else b""
        except OSError:
            return None
        kind = _media_type(content)
        if kind is None or hashlib.sha256(content).hexdigest() != digest:
            return None
        return content, kind

    def _find(self, digest: str) -> Path | None:
        if digest not in self._paths and self._lock.acquire(blocking=False):
            try:
                self._look()
            finally:
                self._lock.release()
        return self._paths.get(digest)

    def _look(self) -> None:
        """Learn the digests of files that are new or have changed."""
        if time.monotonic() - self._looked < _LOOK_SECONDS:
            return
        for path in self._folder.rglob("*"):
            if path.suffix.lower() not in _SUFFIXES or path.is_symlink() or not path.is_file():
                continue
            state = path.stat()
            mark = state.st_mtime_ns, state.st_size
            if self._known.get(path, (None, ""))[0] == mark or state.st_size > _LARGEST:
                continue
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            self._known[path] = mark, digest
            self._paths[digest] = path
        self._looked = time.monotonic()


def _media_type(content: bytes) -> str | None:
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for magic, kind in _KINDS if content.startswith(magic)), None)
