"""Whom a rule is for, and whether its roll-out has reached a subject.

Invariants: pure; an attribute that the request does not state counts against the request: it is under every rule that
restricts, and profits from no rule or exception that frees; a higher percentage never leaves out who was in before.
"""

from __future__ import annotations

import hashlib

from safegen.policy.decision import PromptRequest
from safegen.policy.parts import Rollout, When

_DRAWS = 2**64


def concerns(when: When, request: PromptRequest, *, restricts: bool) -> bool:
    """Whether a rule or an exception is for a request; `restricts` says on which side doubt falls."""
    return (
        _within(request.tenant, when.tenants, restricts)
        and _within(request.market, when.markets, restricts)
        and (not when.age_gate or request.age_gate in when.age_gate)
    )


def _within(value: str | None, listed: tuple[str, ...], doubt: bool) -> bool:
    if not listed:
        return True
    return doubt if value is None else value in listed


def reached(rollout: Rollout, rule: str, request: PromptRequest) -> bool:
    """Whether the subject of a request is in the share that a roll-out has reached."""
    drawn = hashlib.sha256(f"{rollout.seed or rule}\0{request.subject or request.prompt}".encode("utf-8", "replace"))
    return int.from_bytes(drawn.digest()[:8], "big") / _DRAWS * 100 < rollout.percent
