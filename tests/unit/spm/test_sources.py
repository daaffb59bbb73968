"""Where a registry comes from: folders, and a hub whose cache is filled without a network."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from safegen.data import file_digest
from safegen.errors import AdapterDigestError, AdapterIntegrityError, AdapterMissingError, AdapterSourceError
from safegen.spm import Registry
from safegen.spm.sources import HubRepository, LocalFolder

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def hub(tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub library's cache with one commit of a repository in it: the index and one adapter."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    snapshot = tmp_path / "models--someone--spms" / "snapshots" / COMMIT
    for path in ("index.json", registry.adapter("sticker/cat").path):
        (snapshot / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(registry.folder / path, snapshot / path)
    return snapshot


def test_a_hub_repository_is_read_like_a_folder(hub: Path, registry: Registry) -> None:
    """The pinned commit gives the index and the adapter, whose digest is checked."""
    from_hub = Registry.from_source(HubRepository("someone/spms", COMMIT, offline=True))
    assert from_hub.index == registry.index
    assert from_hub.load_adapter("sticker/cat", base=registry.base("sticker")).digest


def test_altered_bytes_from_a_hub_are_not_parsed(hub: Path, registry: Registry) -> None:
    """The digest of the index decides, wherever the file comes from."""
    (hub / registry.adapter("sticker/cat").path).write_bytes(b"anything")
    from_hub = Registry.from_source(HubRepository("someone/spms", COMMIT, offline=True))
    with pytest.raises(AdapterDigestError, match="digest"):
        from_hub.load_adapter("sticker/cat", base=registry.base("sticker"))


def test_the_index_itself_can_be_pinned(hub: Path) -> None:
    """An index with another digest than the one asked for is not read."""
    source = HubRepository("someone/spms", COMMIT, offline=True)
    assert Registry.from_source(source, digest=file_digest(hub / "index.json")).index.adapters
    with pytest.raises(AdapterDigestError, match="index"):
        Registry.from_source(source, digest="sha256:" + "0" * 64)


def test_what_is_not_in_the_cache_says_what_to_do(hub: Path, registry: Registry) -> None:
    """Offline, a file that was never fetched is an error of the source with a hint."""
    from_hub = Registry.from_source(HubRepository("someone/spms", COMMIT, offline=True))
    with pytest.raises(AdapterSourceError, match="connection"):
        from_hub.load_adapter("sticker/pistol", base=registry.base("sticker"))


def test_an_interrupted_download_leaves_nothing_to_load(
    hub: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that breaks is a typed error; the next try gives the file."""
    calls = []

    def download(repository: str, path: str, *, revision: str, local_files_only: bool) -> str:
        calls.append(path)
        if len(calls) == 1:
            message = "connection reset"
            raise ConnectionError(message)
        return str(hub / path)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    source = HubRepository("someone/spms", COMMIT)
    with pytest.raises(AdapterSourceError, match="connection reset"):
        source.file("index.json")
    assert source.file("index.json").is_file()


@pytest.mark.parametrize("address", ["hub:someone/spms", "hub:someone/spms@main", "hub:spms@" + COMMIT])
def test_what_can_move_is_refused(address: str) -> None:
    """A branch, a tag or no revision at all is no address."""
    with pytest.raises(AdapterSourceError, match="commit"):
        HubRepository.parse(address)


def test_a_folder_says_what_it_lacks(tmp_path: Path) -> None:
    """A missing file and a missing folder are typed errors that name the place."""
    for ask in (LocalFolder(tmp_path).file, LocalFolder(tmp_path).folder):
        with pytest.raises(AdapterMissingError, match="nothing"):
            ask("nothing")


@pytest.mark.parametrize("path", ["../outside.safetensors", "/etc/passwd", "a\\..\\b"])
def test_an_index_cannot_name_files_outside_its_folder(tmp_path: Path, registry: Registry, path: str) -> None:
    """Paths of entries stay inside."""
    text = (registry.folder / "index.json").read_text(encoding="utf-8")
    own = registry.adapter("sticker/cat").path
    (tmp_path / "index.json").write_text(text.replace(own, path.replace("\\", "\\\\")), encoding="utf-8")
    with pytest.raises(AdapterIntegrityError, match="inside"):
        Registry.open(tmp_path)
