"""Writes safetensors files, atomically and always with the same bytes for the same content.

The `safetensors` package writes metadata in an order that changes from run to run, so that two equal adapters had two
digests. Invariant: the bytes are a function of keys, tensors and metadata alone.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

import torch

from safegen.spm.tensor_reading import DTYPES

_NAMES = {dtype: name for name, dtype in DTYPES.items()}
_ALIGNMENT = 8  # bytes


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> str:
    """Write a safetensors file in the tensors' own dtypes, and return its digest.

    A reader sees the old file or the whole new one. The folder is made if it is missing.
    """
    content = _serialise(tensors, metadata)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _serialise(tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> bytes:
    header: dict[str, object] = {"__metadata__": dict(sorted(metadata.items()))}
    parts, position = [], 0
    # Wide types first, so that every tensor is aligned.
    for key in sorted(tensors, key=lambda key: (-tensors[key].dtype.itemsize, key)):
        tensor = tensors[key].detach().cpu().contiguous()
        raw = tensor.flatten().view(torch.uint8).numpy().tobytes()
        offsets = [position, position := position + len(raw)]
        header[key] = {"dtype": _NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": offsets}
        parts.append(raw)
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    return b"".join([len(text).to_bytes(8, "little"), text, *parts])
