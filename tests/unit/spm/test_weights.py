"""SPM files: the published format, and every way in which a file can be wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from safegen.errors import AdapterDigestError
from safegen.spm import MembraneSet, read_spm, write_spm
from safegen.spm.tensor_writing import write_tensors


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
    with pytest.raises(AdapterDigestError, match=r"s\.safetensors: the adapter file has digest"):
        read_spm(tmp_path / "s.safetensors", expected=digest)


def test_the_same_content_is_the_same_file(tmp_path: Path) -> None:
    """Bytes and digest depend on tensors and metadata alone, and no partial file stays behind."""
    assert written(tmp_path / "one.safetensors") == written(tmp_path / "two.safetensors")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.safetensors", "two.safetensors"]


def test_a_file_without_any_alpha_is_read_with_the_alpha_of_its_metadata(tmp_path: Path) -> None:
    """Where no layer states an alpha, the metadata's `alpha` holds for all of them."""
    halves = {"lora_unet_x.lora_down.weight": torch.ones(2, 4), "lora_unet_x.lora_up.weight": torch.ones(3, 2)}
    write_tensors(tmp_path / "s.safetensors", halves, {"alpha": "0.5", "rank": "2"})
    _, _, alpha = read_spm(tmp_path / "s.safetensors").layers["lora_unet_x"]
    assert alpha == 0.5
