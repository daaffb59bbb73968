"""Where the shipped data lies, and digests of what lies there.

Invariants: a wheel carries the three data folders inside the package, a checkout has them beside it, and callers never
care which; a digest is written `sha256:<hex>` and covers names and bytes, never times or modes.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal

Folder = Literal["policies", "spm_models", "audit"]
_CHUNK = 1 << 20


def data_folder(name: Folder) -> Path:
    """The folder of that name, inside the installed package or beside the checkout.

    Raises:
        FileNotFoundError: the installation is incomplete.
    """
    package = Path(__file__).parent
    for candidate in (package / "_data" / name, package.parent / name):
        if candidate.is_dir():
            return candidate
    message = f"the data folder {name!r} is neither inside nor beside {package}; reinstall safegen"
    raise FileNotFoundError(message)


def file_digest(path: Path) -> str:
    """The sha256 of one file's bytes, as `sha256:<hex>`."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return f"sha256:{digest.hexdigest()}"


def folder_digest(
    folder: Path, *, suffixes: tuple[str, ...] = (".json", ".safetensors", ".txt", ".gz", ".onnx")
) -> str:
    """The sha256 over all files of a folder that a model is made of, as `sha256:<hex>`.

    Each file contributes its relative POSIX path and its own digest, in path order; files with other suffixes (a model
    card, pictures) do not count.
    """
    digest = hashlib.sha256()
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix in suffixes)
    for path in files:
        digest.update(f"{path.relative_to(folder).as_posix()}\0{file_digest(path)}\n".encode())
    return f"sha256:{digest.hexdigest()}"
