"""The cache of readings: whole or absent, whoever writes at the same time."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch

from safegen.spm.reading_cache import FOLDER_VARIABLE, ReadingCache, cache_folder

KEY = {"kind": "concept", "phrases": ["cat", "kätzchen"]}


def _put_and_get(folder: str, value: float) -> bool:
    cache = ReadingCache(Path(folder))
    for _ in range(20):
        cache.put(KEY, {"rows": torch.full((64, 64), value)})
        kept = cache.get(KEY)
        if kept is None or len(kept["rows"].unique()) != 1:
            return False
    return True


def test_processes_that_write_at_once_never_show_half_a_file(tmp_path: Path) -> None:
    """Two processes put and get under one key; every reading is one of theirs, whole."""
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        assert all(pool.map(_put_and_get, [str(tmp_path)] * 2, [1.0, 2.0]))
    assert [path.suffix for path in tmp_path.iterdir()] == [".safetensors"]


def test_what_is_under_another_key_or_damaged_is_as_good_as_none(tmp_path: Path) -> None:
    """A file that was moved to another key's place, cut, or replaced by a pickle gives None."""
    cache = ReadingCache(tmp_path)
    cache.put(KEY, {"rows": torch.ones(3)})
    path = next(tmp_path.iterdir())
    cache.put({"other": 1}, {"rows": torch.zeros(3)})
    other = next(each for each in tmp_path.iterdir() if each != path)
    content = path.read_bytes()
    for damaged in (other.read_bytes(), content[:-2], b"\x80\x04N.", b""):
        path.write_bytes(damaged)
        assert cache.get(KEY) is None
    path.write_bytes(content)
    assert cache.get(KEY) is not None


def test_a_folder_that_cannot_be_written_breaks_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file in the folder's place, or a cache switched off: nothing is kept, nothing fails."""
    (tmp_path / "file").write_text("x")
    cache = ReadingCache(tmp_path / "file")
    cache.put(KEY, {"rows": torch.ones(3)})
    assert cache.get(KEY) is None
    monkeypatch.setenv(FOLDER_VARIABLE, "off")
    assert cache_folder() is None
    assert ReadingCache(cache_folder()).get(KEY) is None
