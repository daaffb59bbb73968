"""Canonical JSON (RFC 8785): writing it, and telling fast whether bytes are in that form.

Invariants: `rfc8785` alone decides what is canonical. orjson, where it is installed, may only say yes, and only about
texts that both write alike: ASCII (so that keys sort alike), no exponent, no fraction that ends in a zero, no integer
beyond 2^53 - 1. Everything else is left to `rfc8785`.
"""

from __future__ import annotations

import json
import re
from typing import Any

import rfc8785

orjson: Any
try:
    import orjson
except ImportError:
    orjson = None

_OTHER_NUMBERS = re.compile(rb"(?:\.[0-9]*0|e[+-]?[0-9]+)(?:[,}\]]|\Z)")
"""How orjson may write a number that RFC 8785 writes otherwise; a text may hold it too, and is then just slower."""


def canonical_value(body: bytes) -> Any:
    """The JSON value whose canonical form the bytes are, else a value that equals no JSON value."""
    if orjson is None:
        return _by_definition(body)
    try:
        value = orjson.loads(body)
        alike = orjson.dumps(value, option=orjson.OPT_SORT_KEYS | orjson.OPT_STRICT_INTEGER) == body
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        return _by_definition(body)
    if alike and body.isascii() and not _OTHER_NUMBERS.search(body):
        return value
    return _by_definition(body)


_NONE = object()


def _by_definition(body: bytes) -> Any:
    try:
        value = json.loads(body, parse_int=_integer)
        return value if rfc8785.dumps(value) == body else _NONE
    except (ValueError, RecursionError, OverflowError, rfc8785.CanonicalizationError):
        return _NONE


def _integer(text: str) -> int | float:
    """An integer beyond 2^53 - 1 is a double, as in every JSON reader that RFC 8785 has in mind."""
    value = int(text)
    return value if abs(value) < 1 << 53 else float(text)
