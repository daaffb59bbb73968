"""Every way in which an SPM file can be wrong is an error of its own that names file and key and says what to do."""

from __future__ import annotations

import json
import pickle
import struct
from pathlib import Path

import pytest
import torch

from safegen import errors
from safegen.spm import read_spm
from safegen.spm.tensor_writing import write_tensors

DOWN, UP, ALPHA = (f"lora_unet_x.{part}" for part in ("lora_down.weight", "lora_up.weight", "alpha"))
Tensors = dict[str, torch.Tensor]


def good() -> Tensors:
    return {DOWN: torch.ones(2, 4), UP: torch.ones(3, 2), ALPHA: torch.tensor(1.0)}


def raw(header: object, data: bytes = b"", *, length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(begin: object, end: object, shape: object = (1,), dtype: object = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


CONTENTS: list[tuple[str, bytes, type[errors.AdapterError], str]] = [
    ("empty", b"", errors.AdapterTruncatedError, "ends after 0 bytes"),
    ("header cut", raw({}, length=100), errors.AdapterTruncatedError, "its header alone 108"),
    ("header too long", raw({}, length=1 << 40), errors.AdapterHeaderError, "claims 1,099,511,627,776 bytes"),
    ("no JSON", raw(b"{x"), errors.AdapterHeaderError, "no JSON"),
    ("nested too deep", raw(b"[" * 200_000), errors.AdapterHeaderError, "no JSON"),
    ("not text", raw(b"{\xff}"), errors.AdapterHeaderError, "no JSON"),
    ("a list", raw([]), errors.AdapterHeaderError, "no JSON object"),
    ("twins", raw(b'{"a": {}, "a": {}}'), errors.AdapterDuplicateError, "names 'a' twice"),
    ("metadata no object", raw({"__metadata__": 1}), errors.AdapterHeaderError, "__metadata__"),
    ("metadata no text", raw({"__metadata__": {"rank": 1}}), errors.AdapterHeaderError, "'rank' is not text"),
    ("entry no object", raw({DOWN: 3}), errors.AdapterHeaderError, "lora_down"),
    ("negative", raw({DOWN: entry(-4, 0)}), errors.AdapterHeaderError, "lora_down"),
    ("true as number", raw({DOWN: entry(0, 4, [True])}, bytes(4)), errors.AdapterHeaderError, "lora_down"),
    ("huge shape", raw({DOWN: entry(0, 4, [1 << 60, 1 << 60])}), errors.AdapterHeaderError, "cannot take bytes 0 to 4"),
    ("many dimensions", raw({DOWN: entry(0, 4, [1] * 999)}, bytes(4)), errors.AdapterHeaderError, "lora_down"),
    ("integers", raw({DOWN: entry(0, 8, dtype="I64")}, bytes(8)), errors.AdapterDtypeError, "lora_down.*'I64'"),
    ("overlap", raw({DOWN: entry(0, 4), UP: entry(0, 4)}, bytes(4)), errors.AdapterHeaderError, "starts at byte 0"),
    ("a hole", raw({DOWN: entry(4, 8)}, bytes(8)), errors.AdapterHeaderError, "starts at byte 4"),
    ("data cut", raw({DOWN: entry(0, 4)}, bytes(3)), errors.AdapterTruncatedError, "within 'lora_unet_x.lora_down"),
    ("data too long", raw({DOWN: entry(0, 4)}, bytes(9)), errors.AdapterHeaderError, "5 bytes after the last"),
    ("pickle", pickle.dumps({"state_dict": [1]}), errors.AdapterPickleError, "pickle"),
    ("torch's zip", b"PK\x03\x04" + bytes(99), errors.AdapterPickleError, "pickle"),
]

EDITS: list[tuple[str, Tensors, list[str], type[errors.AdapterError], str]] = [
    ("nothing", {}, [DOWN, UP, ALPHA], errors.AdapterIntegrityError, "no layers"),
    ("no up", {}, [UP], errors.AdapterHalfError, "lacks lora_unet_x.lora_up.weight"),
    ("no down", {}, [DOWN], errors.AdapterHalfError, "lacks lora_unet_x.lora_down.weight"),
    ("alpha alone", {}, [DOWN, UP], errors.AdapterHalfError, "it has lora_unet_x.alpha alone"),
    ("no alpha", {}, [ALPHA], errors.AdapterAlphaError, "lora_unet_x.alpha is missing"),
    ("two alphas", {ALPHA: torch.ones(2)}, [], errors.AdapterAlphaError, "2 values"),
    ("alpha zero", {ALPHA: torch.zeros(())}, [], errors.AdapterAlphaError, "is 0"),
    ("alpha negative", {ALPHA: torch.tensor(-1.0)}, [], errors.AdapterAlphaError, "the opposite"),
    ("NaN", {DOWN: torch.full((2, 4), torch.nan)}, [], errors.AdapterNotFiniteError, "lora_down"),
    ("infinity", {UP: torch.full((3, 2), -torch.inf).half()}, [], errors.AdapterNotFiniteError, "lora_up"),
    ("too large", {UP: torch.full((3, 2), 1e300, dtype=torch.float64)}, [], errors.AdapterNotFiniteError, "lora_up"),
    ("rank 0", {DOWN: torch.ones(0, 4), UP: torch.ones(3, 0)}, [], errors.AdapterRankError, "rank 0"),
    ("two ranks", {DOWN: torch.ones(1, 4)}, [], errors.AdapterRankError, "rank 1 by its down and 2 by its up"),
    ("a vector", {DOWN: torch.ones(4)}, [], errors.AdapterShapeError, "neither linear nor convolution"),
    ("no inputs", {DOWN: torch.ones(2, 0)}, [], errors.AdapterShapeError, "neither linear nor convolution"),
    ("wide up", {UP: torch.ones(3, 2, 3, 3)}, [], errors.AdapterShapeError, "neither linear nor convolution"),
    ("stranger", {"conv_in.weight": torch.ones(1)}, [], errors.AdapterKeyError, "'conv_in.weight' is not a layer"),
    ("DoRA", {"lora_unet_x.dora_scale": torch.ones(1)}, [], errors.AdapterKeyError, "dora_scale"),
    ("text encoder", {"lora_te_x.alpha": torch.ones(())}, [], errors.AdapterKeyError, "text encoder"),
]


@pytest.mark.parametrize(
    ("content", "error", "message"), [case[1:] for case in CONTENTS], ids=[case[0] for case in CONTENTS]
)
def test_damaged_bytes(tmp_path: Path, content: bytes, error: type[errors.AdapterError], message: str) -> None:
    """What is no safetensors file, or contradicts itself, is refused by name, with file and remedy."""
    check(tmp_path, content, error, message)


@pytest.mark.parametrize(
    ("edit", "without", "error", "message"), [case[1:] for case in EDITS], ids=[case[0] for case in EDITS]
)
def test_bad_layers(
    tmp_path: Path, edit: Tensors, without: list[str], error: type[errors.AdapterError], message: str
) -> None:
    """What is a safetensors file and no SPM is refused by name, with file, key and remedy."""
    tensors = {**good(), **edit}
    write_tensors(tmp_path / "t", {key: value for key, value in tensors.items() if key not in without}, {})
    check(tmp_path, (tmp_path / "t").read_bytes(), error, message)


def check(folder: Path, content: bytes, error: type[errors.AdapterError], message: str) -> None:
    path = folder / "bad.safetensors"
    path.write_bytes(content)
    with pytest.raises(error, match=message) as caught:
        read_spm(path)
    assert caught.value.where == str(path)
    assert caught.value.hint
    assert type(caught.value) is error


def test_a_rank_that_the_metadata_contradicts_is_refused(tmp_path: Path) -> None:
    """Metadata that says another rank than every layer has is an error that states both."""
    write_tensors(tmp_path / "s", good(), {"rank": "16"})
    with pytest.raises(errors.AdapterRankError, match="says rank 16, the layers have 2"):
        read_spm(tmp_path / "s")


def test_the_digest_is_checked_before_a_byte_is_parsed(tmp_path: Path) -> None:
    """Under a stated digest, even a pickle and an empty file are refused for their digest."""
    for content in (b"", pickle.dumps(1), raw({}, length=1 << 40)):
        (tmp_path / "s").write_bytes(content)
        with pytest.raises(errors.AdapterDigestError, match="has digest"):
            read_spm(tmp_path / "s", expected="sha256:" + "0" * 64)


def test_missing_and_unreadable_files_are_refused(tmp_path: Path) -> None:
    """No file, and a folder of that name, are errors and not exceptions of the operating system."""
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(errors.AdapterMissingError, match="missing"):
            read_spm(path)
    with pytest.raises(errors.AdapterIntegrityError, match="cannot be read"):
        read_spm(tmp_path / ("x" * 5000))


def test_every_kind_of_adapter_error_has_a_code_of_its_own() -> None:
    """Programs can tell the kinds apart by their code."""
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.AdapterError)]
    assert len({kind.code for kind in kinds}) == len(kinds) > 15


def test_a_tensor_that_is_not_aligned_is_read_all_the_same(tmp_path: Path) -> None:
    """Headers without padding, and mixed types, give the same values."""
    data = torch.tensor([0.5, 2.0]).numpy().tobytes()
    parts = {DOWN: entry(2, 6, [1, 1]), UP: entry(6, 10, [1, 1]), ALPHA: entry(0, 2, [], "F16")}
    for padding in (b"", b" ", b"  ", b"   "):
        content = raw(json.dumps(parts).encode() + padding, torch.ones(1).half().numpy().tobytes() + data)
        (tmp_path / "s").write_bytes(content)
        down, up, alpha = read_spm(tmp_path / "s").layers["lora_unet_x"]
        assert (float(down), float(up), alpha) == (0.5, 2.0, 1.0)
