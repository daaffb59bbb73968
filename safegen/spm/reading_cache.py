"""Keeps what was read with a text encoder on disk, so that it is read once and not once a process.

Invariants: safetensors only; a file that is damaged, cut short, or of another key is as good as none; a file appears
whole or not at all, whoever writes at the same time; a folder that cannot be written slows down and breaks nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import platformdirs
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

FOLDER_VARIABLE = "SAFEGEN_CACHE"
"""Environment variable that names another cache folder; `off` keeps nothing."""

_OFF = "off"


def cache_folder() -> Path | None:
    """The user's cache folder for readings, or None if it is switched off."""
    chosen = os.environ.get(FOLDER_VARIABLE)
    if chosen == _OFF:
        return None
    return (Path(chosen) if chosen else Path(platformdirs.user_cache_dir("safegen"))) / "readings"


class ReadingCache:
    """Tensors by key, in one folder."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    @classmethod
    def of_user(cls) -> ReadingCache:
        """The user's own cache."""
        return cls(cache_folder())

    def get(self, key: Mapping[str, object]) -> dict[str, torch.Tensor] | None:
        """The tensors kept under a key, or None."""
        if self._folder is None:
            return None
        try:
            with safe_open(self._path(key), framework="pt") as file:
                if (file.metadata() or {}).get("key") != _text(key):
                    return None
                return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        except (OSError, SafetensorError):
            return None

    def put(self, key: Mapping[str, object], tensors: Mapping[str, torch.Tensor]) -> None:
        """Keep tensors under a key."""
        if self._folder is None:
            return
        whole = {name: tensor.contiguous() for name, tensor in tensors.items()}
        content = save(whole, metadata={"key": _text(key)})
        partial = None
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=self._folder, suffix=".partial", delete=False) as file:
                partial = Path(file.name)
                file.write(content)
            partial.replace(self._path(key))
        except OSError:
            if partial is not None:
                partial.unlink(missing_ok=True)

    def _path(self, key: Mapping[str, object]) -> Path:
        name = hashlib.sha256(_text(key).encode()).hexdigest()
        return Path(self._folder or "") / f"{name}.safetensors"


def _text(key: Mapping[str, object]) -> str:
    return json.dumps(key, sort_keys=True, ensure_ascii=False)
