"""Canonical JSON (RFC 8785): writing it fast, and telling fast whether bytes are in that form.

Invariants: `rfc8785` alone decides what is canonical. orjson, where it is installed, is believed only about texts that
both write alike: ASCII (so that keys sort alike), no exponent, no fraction that ends in a zero, no integer
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

_OPTIONS = orjson.OPT_SORT_KEYS | orjson.OPT_STRICT_INTEGER if orjson else 0
_INEXACT = 1 << 53
_CONTAINERS = (b"{", b"[")
_TRAILING_ZERO = re.compile(rb"\.[0-9]*0(?:[,}\]]|\Z)").search
_EXPONENT_IN_OBJECT = re.compile(rb'":-?[0-9][0-9.]*e').search
_EXPONENT_AFTER_COMMA = re.compile(rb",-?[0-9][0-9.]*e").search
_EXPONENT_IN_ARRAY = re.compile(rb"\[-?[0-9][0-9.]*e").search
"""How orjson may write a number that RFC 8785 writes otherwise; a text may hold it too, and is then just slower. Each
begins with a fixed text, for which regular expressions search much faster than for a choice."""


def canonical_text(value: Any) -> bytes:
    """The canonical form of a JSON value.

    Raises:
        ValueError: if it has none.
    """
    for form in (_as_it_is, _whole) if orjson else ():
        try:
            body: bytes = orjson.dumps(form(value), option=_OPTIONS)
        except orjson.JSONEncodeError:
            break
        if _written_alike(body):
            return body
    return rfc8785.dumps(value)


def _as_it_is(value: Any) -> Any:
    return value


def _whole(value: Any) -> Any:
    """The value with whole numbers as integers, as RFC 8785 writes them."""
    kind = type(value)
    if kind is float:
        return int(value) if value.is_integer() and abs(value) < _INEXACT else value
    if kind is dict:
        return {name: _whole(part) for name, part in value.items()}
    if kind is list or kind is tuple:
        return [_whole(part) for part in value]
    return value


def _written_alike(body: bytes) -> bool:
    return (
        body[:1] in _CONTAINERS
        and body.isascii()
        and not _TRAILING_ZERO(body)
        and not _EXPONENT_IN_OBJECT(body)
        and not _EXPONENT_AFTER_COMMA(body)
        and not _EXPONENT_IN_ARRAY(body)
    )


def canonical_value(body: bytes) -> Any:
    """The JSON value whose canonical form the bytes are, else a value that equals no JSON value."""
    if orjson is None:
        return _by_definition(body)
    try:
        value = orjson.loads(body)
        alike = orjson.dumps(value, option=_OPTIONS) == body
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        return _by_definition(body)
    if alike and _written_alike(body):
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
    return value if abs(value) < _INEXACT else float(text)
