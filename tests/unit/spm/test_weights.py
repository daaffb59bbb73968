"""SPM files: the published format, and every way in which a file can be wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from safegen.errors import AdapterIntegrityError
from safegen.spm import MembraneSet, read_spm, write_spm


def written(path: Path) -> str:
    torch.manual_seed(0)
    return write_spm(path, MembraneSet({"mid.proj": nn.Linear(4, 3)}, rank=2, alpha=0.5), {"prompts": "cat", "rank": 2})


def test_the_format_is_the_published_one(tmp_path: Path) -> None:
    """Tensors carry kohya's names and shapes, metadata is text, and a fresh membrane's up is zero."""
    written(tmp_path / "s.safetensors")
    tensors = load_file(tmp_path / "s.safetensors")
    assert {name: tuple(value.shape) for name, value in tensors.items()} == {
        "lora_unet_mid_proj.alpha": (),
        "lora_unet_mid_proj.lora_down.weight": (2, 4),
        "lora_unet_mid_proj.lora_up.weight": (3, 2),
    }
    assert not tensors["lora_unet_mid_proj.lora_up.weight"].any()
    assert read_spm(tmp_path / "s.safetensors").metadata == {"prompts": "cat", "rank": "2"}


def test_reading_gives_back_what_was_written(tmp_path: Path) -> None:
    """Down, up and alpha come back bit for bit, and the digest is the file's."""
    digest = written(tmp_path / "s.safetensors")
    spm = read_spm(tmp_path / "s.safetensors", expected=digest)
    down, up, alpha = spm.layers["lora_unet_mid_proj"]
    tensors = load_file(tmp_path / "s.safetensors")
    assert torch.equal(down, tensors["lora_unet_mid_proj.lora_down.weight"])
    assert torch.equal(up, tensors["lora_unet_mid_proj.lora_up.weight"])
    assert (alpha, spm.parameters) == (0.5, 14)


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    """One flipped bit changes the digest, and the error names the file."""
    digest = written(tmp_path / "s.safetensors")
    content = bytearray((tmp_path / "s.safetensors").read_bytes())
    content[-1] ^= 1
    (tmp_path / "s.safetensors").write_bytes(content)
    with pytest.raises(AdapterIntegrityError, match=r"s\.safetensors: the adapter file has digest"):
        read_spm(tmp_path / "s.safetensors", expected=digest)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "not a readable safetensors file"), (b"\x80\x04pickle", "not a readable safetensors file")],
)
def test_what_is_no_safetensors_file_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    """Empty files and pickles never get further than the header."""
    (tmp_path / "s.safetensors").write_bytes(content)
    with pytest.raises(AdapterIntegrityError, match=message):
        read_spm(tmp_path / "s.safetensors")


def test_incomplete_empty_and_infinite_files_are_refused(tmp_path: Path) -> None:
    """A missing half, no layers at all, and values that are not finite are errors that name the layer."""
    path = tmp_path / "s.safetensors"
    save_file({"x.lora_down.weight": torch.ones(1, 2)}, path)
    with pytest.raises(AdapterIntegrityError, match="layer x lacks"):
        read_spm(path)
    save_file({}, path)
    with pytest.raises(AdapterIntegrityError, match="no layers"):
        read_spm(path)
    save_file({"x.lora_down.weight": torch.full((1, 2), torch.inf), "x.lora_up.weight": torch.ones(2, 1)}, path)
    with pytest.raises(AdapterIntegrityError, match="not finite"):
        read_spm(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    """A path without a file is an integrity error."""
    with pytest.raises(AdapterIntegrityError, match="missing"):
        read_spm(tmp_path / "none.safetensors")
