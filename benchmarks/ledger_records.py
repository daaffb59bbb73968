"""Records to measure with: requests as a guard writes them, many and different, and a fast way to a very large ledger.

Everything follows from the number of a request, so the same size gives the same ledger but for its keys.
"""

from __future__ import annotations

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
    Decider,
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
    Recovered,
    Refusal,
    Requested,
    Reviewed,
    ReviewOrder,
    Score,
    ShadowMatch,
    timestamp,
)

START = datetime(2026, 3, 1, tzinfo=UTC)
DAYS = 92
CONCEPTS = ("mascot", "nudity", "firearm", "zibbo", "artist-a", "artist-b", "logo", "blood", "cat", "robot")
TENANTS = ("acme", "blue", "contoso", "delta", "echo")
_SOFTWARE = {"safegen": "0.1.0", "torch": "2.14.1", "diffusers": "0.40.0", "transformers": "4.57.0"}
_ENVIRONMENT = {"machine": "x86_64", "processor": "AVX2", "system": "Linux", "threads": "2"}


def hex256(*parts: object) -> str:
    """64 hex digits that follow from the parts."""
    return f"{random.Random(repr(parts)).getrandbits(256):064x}"


HEX = hex256("fixed")


class Requests:
    """A stream of requests over three months and three versions of a policy."""

    def __init__(self, requests: int) -> None:
        self._step = timedelta(days=DAYS) / max(1, requests)
        self._requests = requests

    def version(self, number: int) -> int:
        """Version of the policy in force at a request."""
        return 1 + 3 * number // max(1, self._requests)

    def records(self, number: int, name: str | None = None) -> list[Record]:
        """The records of one request, and of a policy change before it if one is due."""
        story = _Story(number, name or f"r{number:08d}", START + number * self._step, self.version(number))
        records = story.records()
        if number and self.version(number) != self.version(number - 1):
            return [story.policy_change(), *records]
        return records


class _Story:
    """What happens in one request."""

    def __init__(self, number: int, name: str, start: datetime, version: int) -> None:
        self.random = random.Random(number)
        self.number, self.name, self.now, self.version = number, name, start, version
        self.chosen = self.random.choices(CONCEPTS, k=1 + (number % 7 == 0))
        self.kind = self.random.choices(
            ("clean", "erased", "refused", "withheld", "error", "lost"), (52, 30, 9, 6, 2, 1)
        )[0]

    def time(self, seconds: float = 0.0) -> str:
        self.now += timedelta(seconds=seconds)
        return timestamp(self.now)

    def common(self, seconds: float = 0.0) -> dict[str, str]:
        return {"time": self.time(seconds), "request_id": self.name}

    def digest(self) -> str:
        return f"sha256:{self.version:064x}"

    def policy_change(self) -> PolicyChanged:
        return PolicyChanged(
            time=self.time(), policy_id="default", old_digest=f"sha256:{self.version - 1:064x}",
            new_digest=self.digest(), policy_version=str(self.version),
            decided_by=(Decider(kind="file", name="default.yaml"),),
        )  # fmt: skip

    def records(self) -> list[Record]:
        first = [self.requested(), self.decided()]
        if self.kind == "lost":
            return [*first, Recovered(**self.common(900), reason="no end was recorded within 900 seconds")]
        if self.kind in {"refused", "error"}:
            return [*first, self.closed(self.kind, 0)]
        attempts = 3 if self.kind == "withheld" else 1
        drawn = [record for attempt in range(attempts) for record in self.attempt(attempt, attempts)]
        return [*first, *drawn, self.closed("withheld" if self.kind == "withheld" else "released", attempts)]

    def requested(self) -> Requested:
        market = self.random.choice((None, "de", "fr", "us"))
        return Requested(
            **self.common(),
            prompt_commitment=hex256("prompt", self.number % 50_000),
            parameters=Parameters(n=1, width=512, height=512, steps=20, guidance=7.5, seed=self.number),
            policy=PolicyReference(id="default", version=str(self.version), digest=self.digest()),
            base_model=ModelReference(id="sticker", digest=f"sha256:{HEX}"),
            software=_SOFTWARE,
            audience=Audience(tenant=self.random.choice(TENANTS), market=market, age_gate="adult"),
        )

    def decided(self) -> Decided:
        if self.kind == "refused":
            refusal = Refusal(rule="minors.absolute", reason="not here", category="minors")
            by = (Decider(kind="rule", name=refusal.rule),)
            return Decided(
                **self.common(0.0005), action="refuse", rules=(refusal.rule,), refusal=refusal, decided_by=by
            )
        if self.kind == "clean":
            by = (Decider(kind="policy", name="default"),)
            return Decided(**self.common(0.0005), action="allow", reviews=(self.order("all"),), decided_by=by)
        rules = tuple(f"{concept}.erase" for concept in dict.fromkeys(self.chosen))
        bundle = tuple(
            BundleMember(
                concept=concept, adapter=f"sticker/{concept}", adapter_sha256=hex256(concept), rule=f"{concept}.erase",
                strength=1.0, transport="calibrated",
            )
            for concept in dict.fromkeys(self.chosen)
        )  # fmt: skip
        shadow = (ShadowMatch(rule="blood.trial", action="refuse", concept="blood"),) if self.number % 11 == 0 else ()
        return Decided(
            **self.common(0.0005), action="erase", rules=rules, bundle=bundle, shadow=shadow,
            reviews=(self.order(rules[0]),), decided_by=tuple(Decider(kind="rule", name=rule) for rule in rules),
        )  # fmt: skip

    def order(self, rule: str) -> ReviewOrder:
        ladder = ("escalate", "reseed", "withhold")
        return ReviewOrder(rule=rule, reviewer="open_clip", threshold=0.22, on_failure="withhold", ladder=ladder)

    def attempt(self, attempt: int, attempts: int) -> Iterator[Record]:
        concepts = [] if self.kind == "clean" else list(dict.fromkeys(self.chosen))
        similarity = round(self.random.uniform(0.6, 1.0), 6)
        yield Drawn(
            **self.common(0.7), attempt=attempt, seeds=(self.number,), images=(0,), environment=_ENVIRONMENT,
            permeabilities=tuple(
                Permeability(
                    adapter=f"sticker/{concept}", concept=concept, gamma=min(4.0, similarity * 2**attempt),
                    escalated=attempt > 0, phrase=concept, similarity=similarity,
                )
                for concept in concepts
            ),
            image_sha256s=(hex256("image", self.number, attempt),),
        )  # fmt: skip
        last = attempt == attempts - 1
        found = self.kind == "withheld"
        score = round(self.random.uniform(0.23, 0.9) if found else self.random.betavariate(1.5, 12) * 0.22, 9)
        looked = Score(
            reviewer="open_clip", reviewer_digest=f"sha256:{HEX}", rule=f"{concepts[0]}.erase" if concepts else "all",
            label=concepts[0] if concepts else "anything", score=score, threshold=0.22, found=found,
        )  # fmt: skip
        verdict = "withhold" if found and last else "escalate" if found else "release"
        yield Reviewed(**self.common(0.05), attempt=attempt, image=0, scores=(looked,), verdict=verdict)  # type: ignore[arg-type]

    def closed(self, outcome: str, attempts: int) -> Closed:
        image = ImageOutcome(
            index=0, pixels_sha256=hex256("image", self.number, attempts - 1),
            png_sha256=hex256("png", self.number) if outcome == "released" else None,
            outcome="released" if outcome == "released" else "withheld",
        )  # fmt: skip
        leaks = tuple(
            Disagreement(
                kind="leak", adapter=f"sticker/{self.chosen[0]}", reviewer="open_clip", score=0.5, attempt=attempt,
                image=0, rule=f"{self.chosen[0]}.erase",
            )
            for attempt in range(attempts if outcome == "withheld" else 0)
        )  # fmt: skip
        return Closed(
            **self.common(0.003),
            outcome=outcome,  # type: ignore[arg-type]
            images=(image,) if attempts else (),
            attempts=attempts,
            disagreements=leaks,
            error=Failure(code="model", message="the base model is missing") if outcome == "error" else None,
            decided_by=(Decider(kind="reviewer", name="open_clip"),),
        )


_TEMPLATE = Requests(100).records(3)
"""A request that was erased and released: five records."""


def write_request(name: str) -> list[Record]:
    """The five records of one request that went well, fast."""
    return [record.model_copy(update={"request_id": name}) for record in _TEMPLATE]


def write_fast(folder: Path, size: int) -> int:
    """A ledger of about `size` records, in large commits, signed at its end; gives how many there are."""
    stream = Requests(int(size / RECORDS_A_REQUEST))
    records = (record for number in range(int(size / RECORDS_A_REQUEST)) for record in stream.records(number))
    with Ledger.open(folder) as ledger:
        while batch := list(islice(records, 20_000)):
            ledger.append_many(batch)
        return ledger.checkpoint().size


RECORDS_A_REQUEST = 5.01
"""On average, over the mixture of kinds."""
