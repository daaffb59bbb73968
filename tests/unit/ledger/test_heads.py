"""Signed heads are believed once they were verified or signed, and not before."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from safegen.errors import LedgerTamperedError
from safegen.ledger import Checkpoint, Ledger, LedgerKeys, VerifierKey, heads, verify_checkpoint
from safegen.ledger.folder import CHECKPOINT_FILE
from tests.unit.ledger.conftest import FakeClock, requested


@pytest.fixture
def verified(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The heads whose signatures were checked for signing, as they come."""
    seen: list[str] = []

    def note(text: str, key: VerifierKey) -> Checkpoint:
        seen.append(text)
        return verify_checkpoint(text, key)

    monkeypatch.setattr(heads, "verify_checkpoint", note)
    return seen


def test_a_head_that_was_signed_here_is_not_verified(ledger: Ledger, verified: list[str]) -> None:
    """However many are signed and published one after the other."""
    for number in range(5):
        ledger.append(requested(f"r{number:07}"))
        ledger.checkpoint()
    assert verified == []


def test_a_head_of_another_process_is_verified_once(
    full_folder: Path, keys: LedgerKeys, clock: FakeClock, verified: list[str]
) -> None:
    """The head that an opened ledger finds is checked, and then known."""
    with Ledger.open(full_folder, keys=keys, clock=clock) as opened:
        for number in range(5):
            opened.append(requested(f"r{number:07}"))
            opened.checkpoint()
    assert len(verified) == len(set(verified)) == 1


@pytest.mark.parametrize("forge", [lambda text: text.replace("\n5\n", "\n4\n"), lambda text: text[:-6] + "AAAA=\n"])
def test_a_forged_head_is_not_believed_because_its_like_was(
    ledger: Ledger, folder: Path, forge: Callable[[str], str]
) -> None:
    """A published file that differs by a letter from the head that was signed is verified, and refused."""
    ledger.append_many(requested(f"r{number:07}") for number in range(5))
    signed = ledger.checkpoint().text
    assert forge(signed) != signed
    (folder / CHECKPOINT_FILE).write_text(forge(signed), encoding="utf-8")
    with pytest.raises(LedgerTamperedError):
        ledger.append_signed([requested("r0000009")])
