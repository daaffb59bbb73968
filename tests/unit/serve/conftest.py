"""Ledgers for the console, from records as a guard writes them, and a console over each."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

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
    PolicyReference,
    Record,
    Refusal,
    Requested,
    Reviewed,
    ReviewOrder,
    Score,
)
from safegen.serve.console.context import Console

HEX = "ab" * 32
HOSTILE = "<script>alert(1)</script>\x1b[31m\u202etxt.exe"
FORMULA = '=HYPERLINK("http://evil.example","x")'


def requested(name: str, day: str = "2026-03-01", **changes: Any) -> Requested:
    values: dict[str, Any] = {
        "time": f"{day}T03:04:05.000006Z",
        "request_id": name,
        "prompt_commitment": HEX,
        "parameters": Parameters(n=1, width=512, height=512, steps=20, guidance=7.5, seed=1),
        "policy": PolicyReference(id="default", version="1", digest=f"sha256:{HEX}"),
        "base_model": ModelReference(id="sticker", digest=f"sha256:{HEX}"),
        "software": {"safegen": "0.1.0"},
        "audience": Audience(tenant="museum", age_gate="adult"),
    }
    return Requested(**values | changes)


def released(name: str, day: str = "2026-03-01", **changes: Any) -> list[Record]:
    """A request that went well: one rule, one adapter half open, a low score."""
    common = {"time": f"{day}T03:04:06.000000Z", "request_id": name}
    return [
        requested(name, day, **changes),
        Decided(
            **common,
            action="erase",
            rules=("mascots",),
            bundle=(
                BundleMember(
                    concept="zibbo", adapter="zibbo-1", adapter_sha256=HEX, rule="mascots", strength=1.0,
                    transport="calibrated",
                ),
            ),
            reviews=(
                ReviewOrder(
                    rule="mascots", reviewer="open-clip", threshold=0.25, on_failure="withhold",
                    ladder=("escalate", "withhold"),
                ),
            ),
        ),
        Drawn(**common, attempt=0, seeds=(1,), permeabilities=(_opening(0.5),), image_sha256s=(HEX,)),
        Reviewed(**common, attempt=0, image=0, scores=(_score(0.01),), verdict="release"),
        Closed(**common, outcome="released", images=(_image("released"),), attempts=1),
    ]  # fmt: skip


def withheld(name: str, day: str = "2026-03-02") -> list[Record]:
    """A request that leaked twice and was withheld."""
    common = {"time": f"{day}T03:04:06.000000Z", "request_id": name}
    leak = Disagreement(kind="leak", adapter="zibbo-1", reviewer="open-clip", score=0.9)
    return [
        *released(name, day)[:2],
        Drawn(**common, attempt=0, seeds=(1,), permeabilities=(_opening(0.5),), image_sha256s=(HEX,)),
        Reviewed(**common, attempt=0, image=0, scores=(_score(0.8),), verdict="escalate"),
        Drawn(**common, attempt=1, seeds=(1,), permeabilities=(_opening(1.5, escalated=True),), image_sha256s=(HEX,)),
        Reviewed(**common, attempt=1, image=0, scores=(_score(0.9),), verdict="withhold"),
        Closed(**common, outcome="withheld", images=(_image("withheld"),), attempts=2, disagreements=(leak,)),
    ]


def refused(name: str, day: str = "2026-03-03", reason: str = "the prompt asks for nudity") -> list[Record]:
    common = {"time": f"{day}T03:04:06.000000Z", "request_id": name}
    refusal = Refusal(rule="nudity", reason=reason, category="nudity")
    return [
        requested(name, day),
        Decided(**common, action="refuse", rules=("nudity",), refusal=refusal),
        Closed(**common, outcome="refused"),
    ]


def failed(name: str, day: str = "2026-03-03", message: str = "the reviewer is gone") -> list[Record]:
    common = {"time": f"{day}T03:04:06.000000Z", "request_id": name}
    return [requested(name, day), Closed(**common, outcome="error", error=Failure(code="review", message=message))]


def _opening(gamma: float, *, escalated: bool = False) -> Permeability:
    return Permeability(
        adapter="zibbo-1", concept="zibbo", gamma=gamma, escalated=escalated, phrase="a zibbo", similarity=0.91
    )


def _score(score: float) -> Score:
    return Score(
        reviewer="open-clip", reviewer_digest=None, rule="mascots", label="zibbo", score=score, threshold=0.25,
        found=score >= 0.25,
    )  # fmt: skip


def _image(outcome: str) -> ImageOutcome:
    return ImageOutcome(index=0, png_sha256=HEX, pixels_sha256=HEX, outcome=outcome)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A signed ledger of one request of each kind, and of hostile texts; not to be changed."""
    folder = tmp_path_factory.mktemp("console") / "ledger"
    with Ledger.open(folder) as ledger:
        ledger.append_many([*released("good-1"), *withheld("bad-1"), *refused("no-1"), *failed("broken-1")])
        ledger.append_many(refused("hostile-1", "2026-03-04", HOSTILE))
        ledger.append_many(failed("formula-1", "2026-03-05", FORMULA))
        ledger.append(requested("open-1", "2026-03-06"))
        ledger.checkpoint()
    return folder


@pytest.fixture
def open_console(tmp_path: Path) -> Iterator[Callable[..., Console]]:
    """Opens consoles whose index is complete, and closes them at the end."""
    opened: list[Console] = []

    def open_one(folder: Path, **options: Any) -> Console:
        console = Console(folder, index=tmp_path / f"index-{len(opened)}.db", **options)
        opened.append(console)
        console.index_now()
        return console

    yield open_one
    for console in opened:
        console.close()


@pytest.fixture
def folder(tmp_path: Path, template: Path) -> Path:
    """A copy of that ledger, to do anything to."""
    return Path(shutil.copytree(template, tmp_path / "ledger"))


@pytest.fixture(scope="session")
def console(template: Path) -> Iterator[Console]:
    """A console over that ledger, for tests that only look."""
    with Console(template, index=template.parent / "index.db") as console:
        console.index_now()
        yield console
