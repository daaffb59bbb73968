"""One line of the timeline: what the records of a request say, summed up as they come.

Invariants: pure; an item after records 1..n is the same whether they came at once or one by one; what a record does
not say is empty, never guessed. A record that cannot be read is counted and changes nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, get_args

from pydantic import Field, TypeAdapter

from safegen.ledger import (
    Closed,
    Decided,
    Drawn,
    PolicyChanged,
    PolicyRejected,
    Pruned,
    Record,
    Recovered,
    Requested,
    Reviewed,
)

_DIGEST_LETTERS = 12


@dataclass(slots=True)
class Peak:
    """The highest score of one reviewer for one label, and the threshold it was held against."""

    score: float
    threshold: float
    found: bool


@dataclass(slots=True)
class Item:
    """A request, or (`kind`) an event of the ledger itself. Times are those of the records."""

    first: int
    kind: str = "request"
    request_id: str = ""
    last: int = 0
    entries: int = 0
    time: str = ""
    ended: str = ""
    policy: str = ""
    base: str = ""
    tenant: str = ""
    market: str = ""
    action: str = ""
    rules: list[str] = field(default_factory=list)
    shadow: list[str] = field(default_factory=list)
    category: str = ""
    outcome: str = "open"
    attempts: int = 0
    gammas: dict[str, float] = field(default_factory=dict)
    peaks: dict[str, Peak] = field(default_factory=dict)
    disagreements: list[str] = field(default_factory=list)
    reviewers: list[str] = field(default_factory=list)
    flags: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    @property
    def seconds(self) -> float | None:
        """How long the request took by the writer's clock; None while it is open."""
        if not self.time or not self.ended:
            return None
        return (datetime.fromisoformat(self.ended) - datetime.fromisoformat(self.time)).total_seconds()

    @property
    def worst(self) -> tuple[str, Peak] | None:
        """The score that came nearest to its threshold, or went furthest beyond it, and what gave it."""
        return max(self.peaks.items(), key=lambda pair: pair[1].score - pair[1].threshold, default=None)


ITEM: TypeAdapter[Item] = TypeAdapter(Item)
RECORD: TypeAdapter[Record] = TypeAdapter(Annotated[Record, Field(discriminator="stage")])
"""Reads a record's form. That its bytes are canonical is for verification to say, at three times the price."""


STAGES = frozenset(get_args(kind.model_fields["stage"].annotation)[0] for kind in get_args(Record))
"""The stages that this version knows."""


def policy_name(policy_id: str, version: str, digest: str) -> str:
    """The name of one version of a policy: its id, its version and the beginning of its digest."""
    return f"{policy_id} {version} {digest.removeprefix('sha256:')[:_DIGEST_LETTERS]}"


def note(item: Item, flag: str) -> None:
    """Mark an item with a flag, once."""
    if flag not in item.flags:
        item.flags.append(flag)


def add_entry(item: Item, index: int) -> None:
    """Count one more entry of the item."""
    item.last = max(item.last, index)
    item.entries += 1


def add_record(item: Item, record: Record) -> None:
    """Take in what one record says."""
    if record.time < (item.ended or item.time):
        note(item, "clock went back")
    match record:
        case Requested():
            _requested(item, record)
        case Decided():
            _decided(item, record)
        case Drawn():
            _drawn(item, record)
        case Reviewed():
            _reviewed(item, record)
        case Closed():
            _closed(item, record)
        case Recovered():
            item.outcome, item.ended = "recovered", record.time
            item.texts.append(record.reason)
        case PolicyChanged() | PolicyRejected() | Pruned():
            _event(item, record)
    item.time = item.time or record.time


def _event(item: Item, record: PolicyChanged | PolicyRejected | Pruned) -> None:
    if record.stage == "policy_changed":
        if record.policy_version is not None:
            item.policy = policy_name(record.policy_id, record.policy_version, record.new_digest)
        item.texts += [record.policy_id]
        item.texts += [digest for digest in (record.old_digest, record.new_digest) if digest]
    elif record.stage == "policy_rejected":
        item.texts += [record.file, record.code, record.problem]
    else:
        item.texts.append(record.reason)


def _requested(item: Item, record: Requested) -> None:
    policy = record.policy
    item.policy = policy_name(policy.id, policy.version, policy.digest)
    item.base = record.base_model.id
    if record.audience is not None:
        item.tenant, item.market = record.audience.tenant or "", record.audience.market or ""
    if record.sealed_prompt is not None:
        note(item, "sealed prompt")


def _decided(item: Item, record: Decided) -> None:
    item.action, item.rules = record.action, list(record.rules)
    item.shadow = list(dict.fromkeys(match.rule for match in record.shadow))
    if record.refusal is not None:
        item.category = record.refusal.category
        item.texts.append(record.refusal.reason)


def _drawn(item: Item, record: Drawn) -> None:
    item.attempts = max(item.attempts, record.attempt + 1)
    if record.attempt:
        note(item, "drawn again")
    for each in record.permeabilities:
        item.gammas[each.adapter] = max(each.gamma, item.gammas.get(each.adapter, 0.0))
        if each.escalated:
            note(item, "escalated")


def _reviewed(item: Item, record: Reviewed) -> None:
    for each in record.scores:
        if each.reviewer not in item.reviewers:
            item.reviewers.append(each.reviewer)
        if each.score is None:
            note(item, "reviewer failed")
            item.texts.append(each.failure or "")
            continue
        series = f"{each.reviewer} / {each.rule}"
        known = item.peaks.get(series)
        if known is None or each.score > known.score:
            item.peaks[series] = Peak(each.score, each.threshold, each.found or (known is not None and known.found))
        elif each.found:
            known.found = True


def _closed(item: Item, record: Closed) -> None:
    item.outcome, item.ended = record.outcome, record.time
    item.disagreements = list(dict.fromkeys(each.kind for each in record.disagreements))
    if record.error is not None:
        item.texts += [record.error.code, record.error.message]
