"""Reads safetensors files that may be damaged or hostile: the bytes once, their digest first, then their content.

The format (a length, a JSON header, the tensors' bytes) is parsed here and not by the `safetensors` package, because
that package opens the file a second time, after its digest was checked, takes 40 microseconds a tensor, and says
neither which key is wrong nor what to do. Invariants: nothing is parsed before the digest holds; every byte of the file
belongs to the header or to exactly one tensor; the bytes that were hashed are the bytes that are used; every fault is
an `AdapterIntegrityError` that names file and key.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch

from safegen.errors import (
    AdapterDigestError,
    AdapterDtypeError,
    AdapterDuplicateError,
    AdapterHeaderError,
    AdapterIntegrityError,
    AdapterMissingError,
    AdapterNotFiniteError,
    AdapterPickleError,
    AdapterTruncatedError,
)

LARGEST_FILE = 2 << 30
"""Bytes; a rank-128 adapter of the largest family in float32 has about half of that."""
LARGEST_HEADER = 16 << 20
"""Bytes; the header of 722 layers has 300 kB, and trainers add some 100 kB of metadata at most."""

DTYPES: Mapping[str, torch.dtype] = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
}
_LENGTH = 8  # bytes of the header's length, little-endian
_MOST_DIMENSIONS = 4
_LONGEST_QUOTE = 120  # characters
_RESTORE = "fetch the file again from where it came"


@dataclass(frozen=True)
class TensorFile:
    """The content of one safetensors file.

    Attributes:
        tensors: key to tensor, all views of one buffer, in the order of the file's bytes.
        metadata: the header's `__metadata__`.
        digest: `sha256:<hex>` of the file's bytes.
    """

    tensors: Mapping[str, torch.Tensor]
    metadata: Mapping[str, str]
    digest: str


def read_tensors(path: Path, *, expected: str | None = None) -> TensorFile:
    """Read a safetensors file of floating-point tensors.

    Args:
        path: the file.
        expected: the digest that the file must have, `sha256:<hex>`; None to accept any.

    Raises:
        AdapterIntegrityError: one of its kinds for each fault.
        AdapterDuplicateError: the header names a tensor twice.
    """
    where = str(path)
    content = _content(path)
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    if expected is not None and digest != expected:
        raise AdapterDigestError(
            f"the adapter file has digest {digest[:19]}..., the index states {expected[:19]}...",
            where=where,
            hint="the file was changed; restore it, or re-index it if the change is yours",
        )
    start, header = _header(content, where)
    metadata = _metadata(header.pop("__metadata__", {}), where)
    slots = _slots(header, where)
    _check_layout(slots, len(content) - start, where)
    tensors = {slot.key: _tensor(content, start, slot) for slot in slots}
    _check_finite(tensors, content, start, where)
    return TensorFile(tensors=tensors, metadata=metadata, digest=digest)


def _content(path: Path) -> bytearray:
    try:
        if not path.is_file():
            raise AdapterMissingError(
                "the adapter file is missing", where=str(path), hint="reinstall, or check the index"
            )
        size = path.stat().st_size
        if size > LARGEST_FILE:
            raise AdapterIntegrityError(
                f"the file has {size:,} bytes, more than any SPM ({LARGEST_FILE:,})", where=str(path), hint=_RESTORE
            )
        with path.open("rb") as file:
            # A bytearray, since torch takes writable memory only; one byte more tells whether the file has grown.
            return bytearray(file.read(size + 1))
    except OSError as error:
        raise AdapterIntegrityError(
            f"the adapter file cannot be read: {error.strerror}", where=str(path), hint="check the file's permissions"
        ) from error


def _header(content: bytearray, where: str) -> tuple[int, dict[str, object]]:
    """Where the tensors' bytes start, and the parsed header."""
    if content[:4] == b"PK\x03\x04" or (content[:1] == b"\x80" and content[_LENGTH : _LENGTH + 1] != b"{"):
        raise AdapterPickleError(
            "the file is a pickle, not safetensors, and is not opened: a pickle can run any code",
            where=where,
            hint="ask its author for a safetensors file",
        )
    if len(content) < _LENGTH:
        raise AdapterTruncatedError(
            f"the file ends after {len(content)} bytes, not a readable safetensors file", where=where, hint=_RESTORE
        )
    length = int.from_bytes(content[:_LENGTH], "little")
    if length > LARGEST_HEADER:
        raise AdapterHeaderError(
            f"not a readable safetensors file: its header claims {length:,} bytes (at most {LARGEST_HEADER:,})",
            where=where,
            hint=_RESTORE,
        )
    start = _LENGTH + length
    if start > len(content):
        raise AdapterTruncatedError(
            f"the file has {len(content):,} bytes, its header alone {start:,}", where=where, hint=_RESTORE
        )
    try:
        header = json.loads(content[_LENGTH:start].decode("utf-8"), object_pairs_hook=_without_twins)
    except (ValueError, RecursionError) as error:
        raise AdapterHeaderError(
            f"not a readable safetensors file: the header is no JSON ({_short(error)})", where=where, hint=_RESTORE
        ) from error
    except _TwiceError as error:
        raise AdapterDuplicateError(f"the header names {error} twice", where=where, hint=_RESTORE) from error
    if not isinstance(header, dict):
        raise AdapterHeaderError("the header is no JSON object", where=where, hint=_RESTORE)
    return start, header


class _TwiceError(Exception):
    """A JSON object has a key twice."""


def _without_twins(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        raise _TwiceError(_short(next(key for key in keys if keys.count(key) > 1)))
    return found


def _metadata(stated: object, where: str) -> dict[str, str]:
    if not isinstance(stated, dict):
        raise AdapterHeaderError("__metadata__ is no JSON object", where=where, hint=_RESTORE)
    for key, value in stated.items():
        if not isinstance(value, str):
            raise AdapterHeaderError(f"__metadata__.{_short(key)} is not text", where=where, hint=_RESTORE)
    return stated


class _Slot(NamedTuple):
    begin: int
    end: int
    key: str
    dtype: torch.dtype
    shape: tuple[int, ...]


def _slots(header: Mapping[str, object], where: str) -> list[_Slot]:
    """The header's tensors in the order of their bytes."""
    slots = []
    for key, stated in header.items():
        try:
            dtype, shape, (begin, end) = stated["dtype"], stated["shape"], stated["data_offsets"]  # type: ignore[index]
            numbers = (begin, end, *shape)
            whole = len(shape) <= _MOST_DIMENSIONS and {*map(type, numbers)} == {int} and min(numbers) >= 0
        except (KeyError, TypeError, ValueError):
            whole = False
        if not whole:
            raise AdapterHeaderError(
                f"the header's entry for {_short(key)} lacks a dtype, a shape (at most 4 numbers) or two offsets",
                where=where,
                hint=_RESTORE,
            )
        if not isinstance(dtype, str) or dtype not in DTYPES:
            raise AdapterDtypeError(
                f"{_short(key)} is of type {_short(dtype)}; SPMs are of {', '.join(DTYPES)}",
                where=where,
                hint="convert the file to float32 or float16 first",
            )
        kind = DTYPES[dtype]
        size = math.prod(shape) * kind.itemsize
        # Also without the zeros among them, since torch counts strides so.
        if end - begin != size or math.prod(filter(None, shape)) > LARGEST_FILE:
            raise AdapterHeaderError(
                f"{_short(key)} of shape {_short(shape)} cannot take bytes {begin} to {end}", where=where, hint=_RESTORE
            )
        slots.append(_Slot(begin, end, key, kind, tuple(shape)))
    return sorted(slots, key=lambda slot: slot[:3])


def _check_layout(slots: list[_Slot], available: int, where: str) -> None:
    """The tensors must follow one another from the first byte to the last."""
    position = 0
    for slot in slots:
        if slot.begin != position:
            raise AdapterHeaderError(
                f"{_short(slot.key)} starts at byte {slot.begin}, the tensor before it ends at {position}",
                where=where,
                hint=_RESTORE,
            )
        position = slot.end
    if position > available:
        key = next(slot.key for slot in slots if slot.end > available)
        raise AdapterTruncatedError(
            f"the file ends within {_short(key)}: {available:,} of {position:,} bytes of tensors are there",
            where=where,
            hint=_RESTORE,
        )
    if position < available:
        raise AdapterHeaderError(
            f"{available - position:,} bytes after the last tensor belong to nothing", where=where, hint=_RESTORE
        )


def _tensor(content: bytearray, start: int, slot: _Slot) -> torch.Tensor:
    if slot.begin == slot.end:
        return torch.empty(slot.shape, dtype=slot.dtype)
    offset = start + slot.begin
    if offset % slot.dtype.itemsize:  # headers are padded, but nothing makes them be
        content, offset = content[offset : start + slot.end], 0
    count = (slot.end - slot.begin) // slot.dtype.itemsize
    return torch.frombuffer(content, dtype=slot.dtype, offset=offset, count=count).view(slot.shape)


def _check_finite(tensors: Mapping[str, torch.Tensor], content: bytearray, start: int, where: str) -> None:
    """No NaN, no infinity, and nothing that becomes infinite in float32, where SPMs are computed."""
    kinds = {tensor.dtype for tensor in tensors.values()}
    at_once = kinds == {torch.float32} and start % torch.float32.itemsize == 0 and len(content) > start
    if at_once and torch.frombuffer(content, dtype=torch.float32, offset=start).isfinite().all():
        return
    for key, tensor in tensors.items():
        if not tensor.float().isfinite().all():
            raise AdapterNotFiniteError(
                f"{_short(key)} holds values that are not finite",
                where=where,
                hint="its training diverged or its bytes are damaged; train it again, or fetch the file again",
            )


def _short(value: object) -> str:
    """What a file says, cut and escaped for a message."""
    text = repr(value) if not isinstance(value, Exception) else str(value)
    return text if len(text) <= _LONGEST_QUOTE else f"{text[:_LONGEST_QUOTE]}..."
