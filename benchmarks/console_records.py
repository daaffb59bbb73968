"""A large ledger as a busy year would leave it: several rules, adapters, reviewers, policy versions and outcomes.

The same seed gives the same requests. Records are what the guard writes, five or so a request.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

from safegen.ledger import (
    Audience,
    BundleMember,
    Closed,
    Decided,
    Disagreement,
    Drawn,
    Failure,
    ImageOutcome,
    Ledger,
    ModelReference,
    Parameters,
    Permeability,
    PolicyChanged,
    PolicyReference,
    Record,
    Refusal,
    Requested,
    Reviewed,
    ReviewOrder,
    Score,
    ShadowMatch,
    timestamp,
)

HEX = "5a" * 32
RULES = ("nudity", "mascots", "artist-styles", "weapons", "minors", "memorised", "tobacco", "gore")
ADAPTERS = {"mascots": "zibbo-1", "artist-styles": "noto-2", "weapons": "pistol-1", "memorised": "carousel-1"}
TENANTS = ("museum", "studio", "press", "school", "arcade", None)
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
_SOFTWARE = {"safegen": "0.1.0", "torch": "2.14.1", "diffusers": "0.40.0"}
_BATCH = 20_000


class Traffic:
    """Requests one after the other, drawn from a seed."""

    def __init__(self, seed: int, *, requests: int, days: int = 120) -> None:
        self._random = random.Random(seed)
        self._step = timedelta(days=days) / max(requests, 1)
        self._moment = BEGIN
        self._requests = requests

    def records(self) -> Iterator[Record]:
        """All records, with a change of policy at each quarter of the way."""
        version = 0
        for number in range(self._requests):
            if number * 4 // self._requests != version:
                version += 1
                digests = (_digest(version - 1), _digest(version))
                yield PolicyChanged(
                    time=self._time(), policy_id="default", old_digest=digests[0], new_digest=digests[1]
                )
            self._moment += self._step * self._random.expovariate(1.0)
            yield from self._request(f"r{number:07d}-{self._random.getrandbits(24):06x}", version)

    def _time(self) -> str:
        self._moment += timedelta(milliseconds=self._random.uniform(1, 400))
        return timestamp(self._moment)

    def _request(self, name: str, version: int) -> Iterator[Record]:
        draw = self._random
        yield Requested(
            time=self._time(),
            request_id=name,
            prompt_commitment=f"{draw.getrandbits(256):064x}",
            parameters=Parameters(n=1, width=512, height=512, steps=20, guidance=7.5, seed=draw.getrandbits(31)),
            policy=PolicyReference(id="default", version=str(version + 1), digest=_digest(version)),
            base_model=ModelReference(id="sticker", digest=f"sha256:{HEX}"),
            software=_SOFTWARE,
            audience=Audience(tenant=draw.choice(TENANTS), market=draw.choice(("de", "fr", "us")), age_gate="adult"),
        )
        rules = tuple(rule for rule in RULES if draw.random() < 0.08)
        if "nudity" in rules and draw.random() < 0.6:
            yield from self._refusal(name, rules)
            return
        erased = [rule for rule in rules if rule in ADAPTERS]
        yield Decided(
            time=self._time(),
            request_id=name,
            action="erase" if erased else "review" if rules else "allow",
            rules=rules,
            bundle=tuple(_member(rule) for rule in erased),
            reviews=tuple(_order(rule) for rule in rules),
            shadow=(ShadowMatch(rule="logos", action="erase"),) if draw.random() < 0.05 else (),
        )
        yield from self._attempts(name, rules, erased)

    def _refusal(self, name: str, rules: tuple[str, ...]) -> Iterator[Record]:
        refusal = Refusal(rule="nudity", reason="the prompt asks for nudity", category="nudity")
        yield Decided(time=self._time(), request_id=name, action="refuse", rules=rules, refusal=refusal)
        yield Closed(time=self._time(), request_id=name, outcome="refused")

    def _attempts(self, name: str, rules: tuple[str, ...], erased: list[str]) -> Iterator[Record]:
        draw, verdict, attempt, leaks = self._random, "escalate", 0, []
        gammas = {rule: round(draw.betavariate(2, 1.5), 6) if draw.random() < 0.8 else 0.0 for rule in erased}
        while verdict == "escalate":
            opened = {rule: min(2.0, gamma * (attempt + 1)) for rule, gamma in gammas.items()}
            yield Drawn(
                time=self._time(),
                request_id=name,
                attempt=attempt,
                seeds=(draw.getrandbits(31),),
                permeabilities=tuple(_opening(rule, gamma, again=attempt > 0) for rule, gamma in opened.items()),
                image_sha256s=(HEX,),
            )
            scores = tuple(self._score(rule) for rule in rules)
            found = [score for score in scores if score.found]
            verdict = "release" if not found else "escalate" if attempt < 2 else "withhold"
            leaks += [score for score in found if opened.get(score.rule, 0.0) > 0]
            yield Reviewed(time=self._time(), request_id=name, attempt=attempt, image=0, scores=scores, verdict=verdict)  # type: ignore[arg-type]
            attempt += 1
        yield self._end(name, verdict, attempt, leaks)

    def _end(self, name: str, verdict: str, attempts: int, leaks: list[Score]) -> Closed:
        if self._random.random() < 0.001:
            error = Failure(code="review", message=f"the reviewer gave no score within {attempts} s")
            return Closed(time=self._time(), request_id=name, outcome="error", attempts=attempts, error=error)
        outcome = "released" if verdict == "release" else "withheld"
        image = ImageOutcome(index=0, png_sha256=HEX, pixels_sha256=HEX, outcome=outcome)  # type: ignore[arg-type]
        seen = tuple(
            Disagreement(kind="leak", adapter=ADAPTERS[leak.rule], reviewer=leak.reviewer, score=leak.score or 0.0)
            for leak in leaks
        )
        return Closed(
            time=self._time(),
            request_id=name,
            outcome=outcome,  # type: ignore[arg-type]
            images=(image,),
            attempts=attempts,
            disagreements=seen,
        )

    def _score(self, rule: str) -> Score:
        score = round(self._random.betavariate(0.6, 6), 9)
        return Score(
            reviewer=_reviewer(rule),
            reviewer_digest=f"sha256:{HEX}",
            rule=rule,
            label=rule,
            score=score,
            threshold=0.25,
            found=score >= 0.25,
        )


def write_traffic(folder: Path, size: int, *, seed: int = 1) -> None:
    """A ledger of about `size` records, in large commits, signed at its end."""
    records = Traffic(seed, requests=size // 5).records()
    with Ledger.open(folder) as ledger:
        while batch := list(islice(records, _BATCH)):
            ledger.append_many(batch)
        ledger.checkpoint()


def _digest(version: int) -> str:
    return f"sha256:{hashlib.sha256(str(version).encode()).hexdigest()}"


def _reviewer(rule: str) -> str:
    return "nudenet" if rule in {"nudity", "minors"} else "open-clip"


def _member(rule: str) -> BundleMember:
    return BundleMember(
        concept=rule, adapter=ADAPTERS[rule], adapter_sha256=HEX, rule=rule, strength=1.0, transport="calibrated"
    )


def _order(rule: str) -> ReviewOrder:
    return ReviewOrder(
        rule=rule, reviewer=_reviewer(rule), threshold=0.25, on_failure="withhold", ladder=("escalate", "withhold")
    )


def _opening(rule: str, gamma: float, *, again: bool) -> Permeability:
    return Permeability(adapter=ADAPTERS[rule], concept=rule, gamma=gamma, escalated=again, phrase=rule, similarity=0.9)
