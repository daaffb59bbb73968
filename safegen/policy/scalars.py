"""The value of a scalar of YAML.

Invariants: plain scalars are read as in YAML 1.2 (`no` is text, `010` is ten); what cannot be read is text, and said.
"""

from __future__ import annotations

import re
from typing import Any

LONGEST_NUMBER = 40
"""In characters; what is longer is left as text, which no number field accepts."""

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_TRUTHS = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INTEGER = re.compile(r"[-+]?(?:[0-9][0-9_]*|0b[01_]+|0o[0-7_]+|0x[0-9a-fA-F_]+)")
_FLOAT = re.compile(
    r"[-+]?(?:[0-9][0-9_]*\.?[0-9_]*(?:[eE][-+]?[0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?|\.(?:inf|Inf|INF))|\.(?:nan|NaN|NAN)"
)
_NUMBER_STARTS = frozenset("0123456789+-.")
RESOLVED_STARTS = _NUMBER_STARTS | frozenset(("", *"~nNtTfF"))
"""What plain scalars begin with that `resolve` may read as anything but text; "" is the empty one."""


def is_text(value: str) -> bool:
    """Whether every character is one: half of a surrogate pair is none."""
    return value.isascii() or _LONE_SURROGATE.search(value) is None


def resolve(text: str) -> object:
    """A plain scalar as null, truth value, number or text."""
    if text in _NULLS:
        return None
    if text in _TRUTHS:
        return _TRUTHS[text]
    if text[0] in _NUMBER_STARTS and len(text) <= LONGEST_NUMBER:
        return _number(text)
    return text


def _number(text: str) -> object:
    bare = text.replace("_", "")
    try:
        if _INTEGER.fullmatch(text):
            return int(bare, 0 if bare.lstrip("+-").startswith(("0x", "0o", "0b")) else 10)
        if _FLOAT.fullmatch(text):
            return float(bare.lower().replace(".inf", "inf").replace(".nan", "nan"))
    except ValueError:
        return text
    return text


def scalar(event: Any) -> tuple[object, str, str]:
    """The value of a scalar, and what is wrong with it and what to do, both empty if nothing is."""
    text: str = event.value
    if event.tag not in {None, "!", "tag:yaml.org,2002:str"}:
        return text, f"tag `{event.tag}` is not supported", "remove it"
    if _LONE_SURROGATE.search(text):
        replaced = _LONE_SURROGATE.sub("\N{REPLACEMENT CHARACTER}", text)
        return replaced, "half of a surrogate pair is not a character", "remove the escape"
    return (resolve(text) if event.implicit[0] and event.tag is None else text), "", ""
