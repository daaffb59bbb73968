"""Files that try to keep a policy reader busy, each of a given size, by name."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

HEAD = b"apiVersion: safegen/v1\nkind: Policy\nid: hostile\nversion: 1\nbase: sticker\n"
_EMPTY = HEAD + b"rules: []\n"
_RULE = b"  - {id: known, match: {phrases: [word]}, action: refuse, reason: no}\n"


def _filled(size: int, head: bytes, line: Callable[[int], str], tail: bytes = b"") -> bytes:
    """A text of about `size` bytes: head, numbered lines, tail."""
    lines, room, at = [], size - len(head) - len(tail), 0
    while room > 0:
        lines.append(line(at).encode())
        room -= len(lines[-1])
        at += 1
    return head + b"".join(lines) + tail


def _rules(size: int, fields: str) -> bytes:
    return _filled(size, HEAD + b"rules:\n", lambda at: f"  - {{id: rule-{at}, {fields.format(at=at)}}}\n")


def _list(size: int, before: str, line: str) -> bytes:
    return _filled(size, HEAD + before.encode(), lambda at: line.format(at=at))


def _noise(size: int) -> bytes:
    return random.Random(1).randbytes(size)


def _printable_noise(size: int) -> bytes:
    return bytes(random.Random(2).choices(b"abcxyz:-[]{},&*!|>'\"%@#? \n\n  ", k=size))


HOSTILE: dict[str, Callable[[int], bytes]] = {
    "unknown concepts": lambda size: _rules(size, "match: {{concepts: [known-{at}]}}, action: refuse, reason: no"),
    "unknown concepts of one rule": lambda size: _list(
        size,
        "rules:\n  - id: one\n    action: refuse\n    reason: no\n    match:\n      concepts:\n",
        "      - near-{at}\n",
    ),
    "misspelt concepts among many": lambda size: _filled(
        size,
        HEAD + b"concepts:\n",
        lambda at: f"  - {{name: concept-{at}, category: c, phrases: [w{at}]}}\n",
        b"rules:\n"
        + b"".join(
            b"  - {id: r%d, match: {concepts: [conceptt-%d]}, action: refuse, reason: no}\n" % (at, at)
            for at in range(size // 200)
        ),
    ),
    "rules times concepts": lambda size: _filled(
        size,
        HEAD
        + b"concepts:\n"
        + b"".join(b"  - {name: c%d, category: all, phrases: [w%d, v%d]}\n" % (at, at, at) for at in range(size // 300))
        + b"rules:\n",
        lambda at: f"  - {{id: r{at}, match: {{categories: [all]}}, action: erase}}\n",
    ),
    "bad exceptions": lambda size: _filled(
        size,
        _EMPTY + b"exceptions:\n",
        lambda at: f"  - {{id: e{at}, rules: [rule-{at}], reason: no, owner: me, expires: '2026-02-30'}}\n",
    ),
    "exceptions of unknown rules": lambda size: _filled(
        size,
        HEAD + b"rules:\n" + _RULE + b"exceptions:\n",
        lambda at: f"  - {{id: e{at}, rules: [knwn], reason: no, owner: me, expires: '2026-02-20'}}\n",
    ),
    "exceptions for everything": lambda size: _filled(
        size,
        HEAD + b"rules:\n" + _RULE + b"exceptions:\n",
        lambda at: f"  - {{id: e{at}, rules: [known], reason: no, owner: me, expires: '2026-02-20'}}\n",
    ),
    "duplicate keys": lambda size: _list(size, "rules: []\n", "id: again-{at}\n"),
    "duplicate ids": lambda size: _filled(
        size, HEAD + b"rules:\n", lambda _: "  - {id: one, match: {phrases: [word]}, action: refuse, reason: no}\n"
    ),
    "unknown fields": lambda size: _list(size, "rules: []\n", "field{at}: 1\n"),
    "unknown fields of rules": lambda size: _rules(
        size, "match: {{phrases: [a]}}, action: refuse, reason: no, rason: b"
    ),
    "unknown actions": lambda size: _rules(size, "match: {{phrases: [a]}}, action: rfuse, reason: no"),
    "rules without anything": lambda size: _list(size, "rules:\n", "  - {{}}\n"),
    "rules that are lists": lambda size: _list(size, "rules:\n", "  - []\n"),
    "rules that are null": lambda size: _list(size, "rules:\n", "  -\n"),
    "empty phrases": lambda size: _list(
        size, "rules:\n  - id: one\n    action: refuse\n    reason: no\n    match:\n      phrases:\n", "      - '?'\n"
    ),
    "short phrases": lambda size: _list(
        size, "rules:\n  - id: one\n    action: refuse\n    reason: no\n    match:\n      phrases:\n", "      - a{at}\n"
    ),
    "short phrases in flow": lambda size: _filled(
        size, HEAD + b"rules:\n- {id: one, action: refuse, reason: no, match: {phrases: [", lambda _: "a,", b"a]}}\n"
    ),
    "phrases that are numbers": lambda size: _list(
        size, "rules:\n  - id: one\n    action: refuse\n    reason: no\n    match:\n      phrases:\n", "      - {at}\n"
    ),
    "one endless phrase": lambda size: (
        HEAD
        + b"rules:\n  - {id: one, action: refuse, reason: no, match: {phrases: ["
        + b"word " * (size // 5)
        + b"]}}\n"
    ),
    "unusual letters": lambda size: _list(
        size,
        "rules:\n  - id: one\n    action: refuse\n    reason: no\n    match:\n      phrases:\n",
        "      - '\uff21\U0001d4b7\u0441\u0337 \u200b{at} \u0301'\n",
    ),
    "bad ladders": lambda size: _rules(
        size,
        "match: any, action: review, reason: no, reviews: [{{reviewer: nudenet, threshold: 2, ladder: [escalate, x]}}]",
    ),
    "unknown labels": lambda size: _list(
        size,
        "rules:\n  - id: one\n    action: review\n    reason: no\n    match: any\n    reviews:\n"
        "      - reviewer: nudenet\n        threshold: 0.5\n        labels:\n",
        "        - FACE_FEMAL\n",
    ),
    "bad extends": lambda size: _list(size, "rules: []\nextends:\n", "  - x{at}.yaml\n"),
    "bad languages": lambda size: _list(
        size,
        "rules: []\nconcepts:\n  - name: one\n    category: one\n    phrases: [one]\n    aliases:\n",
        "      l{at}: [a]\n",
    ),
    "anchors": lambda size: _list(size, "rules:\n", "  - &a{at} {{}}\n"),
    "tags": lambda size: _list(size, "rules:\n", "  - !t{at} x\n"),
    "aliases of a bomb": lambda size: (
        HEAD
        + b"a: &a [x,x,x,x,x,x,x,x,x]\n"
        + b"".join(b"%c: &%c [%s]\n" % (at, at, b",".join([b"*%c" % (at - 1)] * 9)) for at in range(ord("b"), ord("j")))
        + b"#" * size
    ),
    "one large alias": lambda size: _filled(
        size,
        HEAD + b"rules:\n  - {id: one, action: refuse, reason: no, match: {phrases: &p [",
        lambda at: f"a{at},",
        b"b]}}\n"
        + b"".join(b"  - {id: r%d, action: refuse, reason: no, match: {phrases: *p}}\n" % at for at in range(60)),
    ),
    "brackets": lambda size: b"[" * size,
    "braces": lambda size: b"{" * size,
    "dashes": lambda size: b"- " * (size // 2),
    "question marks": lambda size: b"? " * (size // 2),
    "colons": lambda size: b": " * (size // 2),
    "short keys": lambda size: _filled(size, b"", lambda at: f"{at}:\n"),
    "empty lists": lambda size: b"a: [" + b"[]," * (size // 3) + b"]\n",
    "empty pairs": lambda size: b"a: {" + b",".join(b"%d" % at for at in range(size // 7)) + b"}\n",
    "commas": lambda size: b"[a" + b"," * size,
    "an open quote": lambda size: HEAD + b"description: '" + b"x\n" * (size // 2),
    "quotes in quotes": lambda size: HEAD + b"description: '" + b"''" * (size // 2) + b"'\n",
    "escapes": lambda size: HEAD + b'description: "' + b"\\x41" * (size // 4) + b'"\n',
    "one comment": lambda size: b"#" * size,
    "blank lines": lambda size: b"\n" * size,
    "spaces": lambda size: b" " * size,
    "deep indentation": lambda size: b"".join(b" " * at + b"a:\n" for at in range(int((2 * size) ** 0.5))),
    "one long line": lambda size: HEAD + b"rules: [" + b"{}," * (size // 3) + b"]\n",
    "problems on one long line": lambda size: HEAD + b"rules: [" + b"{id: '', x: 1}," * (size // 15) + b"]\n",
    "documents": lambda size: b"--- a\n" * (size // 6),
    "noise": _noise,
    "printable noise": _printable_noise,
    "zeros": lambda size: b"\0" * size,
    "no UTF-8 at the end": lambda size: b"\n" * size + b"\xff",
    "a forbidden letter at the end": lambda size: HEAD + b"#\n" * (size // 2) + b"\x07",
}


def hostile(size: int, every: int = 1) -> Iterator[tuple[str, bytes]]:
    """The name and the text of each file, or of one in `every`."""
    for at, (name, make) in enumerate(HOSTILE.items()):
        if at % every == 0:
            yield name, make(size)
