"""Fixtures that several test folders share; what is heavy is loaded once a process."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")

if TYPE_CHECKING:
    from safegen.models import BaseModel
    from safegen.spm import Registry


@pytest.fixture(scope="session")
def registry() -> Registry:
    """The shipped registry."""
    from safegen.spm import Registry

    return Registry.open()


@pytest.fixture(scope="session")
def base(registry: Registry) -> BaseModel:
    """The shipped sticker base, really loaded."""
    from safegen.models import load_base

    entry = registry.base("sticker")
    return load_base(registry.folder_of(entry), digest=entry.digest)


@pytest.fixture(scope="session", autouse=True)
def readings_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Readings of text encoders are kept for the tests alone, unless a folder is named."""
    os.environ.setdefault("SAFEGEN_CACHE", str(tmp_path_factory.mktemp("cache")))
