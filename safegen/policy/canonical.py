"""Canonical JSON (RFC 8785) of policies, fast enough for those with a hundred thousand phrases.

Invariant: the bytes are those of `rfc8785.dumps`.
"""

from __future__ import annotations

import json

import rfc8785

_EXACT = 1e-4
"""From here to 1e15, Python and ECMAScript write the same digits for a fraction."""


def canonical_json(data: object) -> bytes:
    """The canonical bytes of plain JSON values whose keys are ASCII."""
    if not _plain(data):
        return rfc8785.dumps(data)  # type: ignore[arg-type] # plain JSON by contract
    return json.dumps(_whole(data), sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()


def _plain(data: object) -> bool:
    """Whether both writers agree on everything in it once whole floats are integers."""
    if isinstance(data, dict):
        return all(key.isascii() for key in data) and all(map(_plain, data.values()))
    if isinstance(data, list):
        return all(type(one) is str or _plain(one) for one in data)
    if isinstance(data, float):
        return data == 0 or _EXACT <= abs(data) < 1 / _EXACT
    return True


def _whole(data: object) -> object:
    if isinstance(data, dict):
        return {key: value if type(value) is str else _whole(value) for key, value in data.items()}
    if isinstance(data, list):
        return [one if type(one) is str else _whole(one) for one in data]
    return int(data) if isinstance(data, float) and data.is_integer() else data
