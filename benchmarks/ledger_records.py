"""Records to measure with: requests as the guard writes them, and a fast way to a very large ledger."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from safegen.ledger import (
    Closed,
    Decided,
    Drawn,
    ImageOutcome,
    Ledger,
    ModelReference,
    Parameters,
    Permeability,
    PolicyReference,
    Record,
    Requested,
    Reviewed,
    Score,
)

TIME = "2026-05-04T03:02:01.000000Z"
HEX = "5a" * 32
_SCORE = Score(
    reviewer="nudenet", reviewer_digest=f"sha256:{HEX}", rule="nudity", label="nudity", score=0.0123456789,
    threshold=0.2, found=False,
)  # fmt: skip
_OPENING = Permeability(adapter="mascot-1", concept="mascot", gamma=0.8125)
_IMAGE = ImageOutcome(index=0, png_sha256=HEX, pixels_sha256=HEX, outcome="released")
_TEMPLATE: list[Record] = [
    Requested(
        time=TIME,
        request_id="x",
        prompt_commitment=HEX,
        parameters=Parameters(n=1, width=512, height=512, steps=20, guidance=7.5, seed=1),
        policy=PolicyReference(id="default", version="3", digest=f"sha256:{HEX}"),
        base_model=ModelReference(id="sticker", digest=f"sha256:{HEX}"),
        software={"safegen": "0.1.0", "torch": "2.14.1", "diffusers": "0.40.0"},
    ),
    Decided(time=TIME, request_id="x", action="prevent", rules=("mascots",)),
    Drawn(time=TIME, request_id="x", attempt=0, seeds=(1,), permeabilities=(_OPENING,), image_sha256s=(HEX,)),
    Reviewed(time=TIME, request_id="x", attempt=0, image=0, scores=(_SCORE,), verdict="release"),
    Closed(time=TIME, request_id="x", outcome="released", images=(_IMAGE,), attempts=1),
]


def write_request(name: str) -> list[Record]:
    """The five records of one request that went well."""
    return [record.model_copy(update={"request_id": name}) for record in _TEMPLATE]


def write_fast(folder: Path, size: int) -> None:
    """A ledger of about `size` records, in large commits, signed at its end."""
    records = (record for number in range(size // 5) for record in write_request(f"r{number}"))
    with Ledger.open(folder) as ledger:
        while batch := list(islice(records, 20_000)):
            ledger.append_many(batch)
        ledger.checkpoint()
