"""A ledger in a temporary folder, with fixed keys and a clock that tests set."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from safegen.ledger import (
    Closed,
    Decided,
    Drawn,
    ImageOutcome,
    Ledger,
    LedgerKeys,
    ModelReference,
    Parameters,
    Permeability,
    PolicyReference,
    Record,
    Requested,
    Reviewed,
    Score,
)

TIME = "2026-01-02T03:04:05.000006Z"
HEX = "ab" * 32


class FakeClock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.moment = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.moment

    def advance(self, **step: float) -> None:
        self.moment += timedelta(**step)


def counting_random() -> Callable[[int], bytes]:
    """Randomness that is the same in every run: 0101..., then 0202..., and so on."""
    calls = iter(range(1, 256))
    return lambda count: bytes([next(calls)] * count)


def requested(request_id: str, time: str = TIME) -> Requested:
    return Requested(
        time=time,
        request_id=request_id,
        prompt_commitment=HEX,
        parameters=Parameters(n=1, width=512, height=512, steps=20, guidance=7.5, seed=2**64 - 1),
        policy=PolicyReference(id="default", version="1", digest=f"sha256:{HEX}"),
        base_model=ModelReference(id="sticker", digest=f"sha256:{HEX}"),
        software={"safegen": "0.1.0"},
    )


def whole_request(request_id: str) -> list[Record]:
    """All records of one request that went well."""
    score = Score(
        reviewer="nudity", reviewer_digest=None, rule="r1", label="nudity", score=0.01, threshold=0.2, found=False
    )
    permeability = Permeability(adapter="mascot", concept="mascot", gamma=0.75)
    image = ImageOutcome(index=0, png_sha256=HEX, pixels_sha256=HEX, outcome="released")
    common = {"time": TIME, "request_id": request_id}
    return [
        requested(request_id),
        Decided(**common, action="prevent", rules=("r1",)),
        Drawn(**common, attempt=0, seeds=(1,), permeabilities=(permeability,), image_sha256s=(HEX,)),
        Reviewed(**common, attempt=0, image=0, scores=(score,), verdict="release"),
        Closed(**common, outcome="released", images=(image,), attempts=1),
    ]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def keys() -> LedgerKeys:
    return LedgerKeys.generate("example.com/ledger", random=counting_random())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "ledger"


@pytest.fixture
def ledger(folder: Path, keys: LedgerKeys, clock: FakeClock) -> Iterator[Ledger]:
    with Ledger.open(folder, keys=keys, clock=clock) as opened:
        yield opened


@pytest.fixture
def full_folder(folder: Path, keys: LedgerKeys, clock: FakeClock) -> Path:
    """A closed ledger of three whole requests (15 entries), signed after each."""
    with Ledger.open(folder, keys=keys, clock=clock) as opened:
        for number in range(3):
            opened.append_many(whole_request(f"request-{number}"))
            opened.checkpoint()
    return folder
