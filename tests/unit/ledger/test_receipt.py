"""Receipts and `.tlog-proof` files, and their forgeries."""

from __future__ import annotations

import pytest

from safegen.errors import LedgerError, LedgerTamperedError
from safegen.ledger import (
    Ledger,
    LedgerKeys,
    Receipt,
    canonical_bytes,
    parse_tlog_proof,
    verify_receipt,
    verify_tlog_proof,
)
from tests.unit.ledger.conftest import requested, whole_request


@pytest.fixture
def given(ledger: Ledger) -> tuple[Receipt, bytes, str]:
    """A receipt for entry 4 of 10, its record, and the public key."""
    ledger.append_many([*whole_request("a"), *whole_request("b")])
    return ledger.receipt(4), next(ledger.entries(4)).body, ledger.verifier_key


def test_receipt_verifies_offline(given: tuple[Receipt, bytes, str]) -> None:
    """A receipt, its record and the public key are enough, also after a trip through JSON."""
    receipt, body, key = given
    assert verify_receipt(Receipt.from_json(receipt.to_json()), body, key).size == 10
    assert verify_receipt(receipt, None, key).size == 10


def test_every_entry_has_a_receipt(ledger: Ledger) -> None:
    """Each entry of ledgers of each size up to nine can be proved."""
    for number in range(9):
        ledger.append(requested(f"r{number}"))
        ledger.checkpoint()
        for entry in ledger.entries():
            verify_receipt(ledger.receipt(entry.index), entry.body, ledger.verifier_key)


def test_old_checkpoint_serves_as_long_as_it_covers(ledger: Ledger) -> None:
    """A receipt for a signed entry rests on the last checkpoint and signs no new one."""
    ledger.append(requested("a"))
    ledger.checkpoint()
    ledger.append(requested("b"))
    assert ledger.receipt(0).tree_size == 1
    assert ledger.receipt(1).tree_size == 2


@pytest.mark.parametrize("index", [-1, 1, 99])
def test_no_receipt_for_nothing(ledger: Ledger, index: int) -> None:
    """An entry that is not there has no receipt."""
    ledger.append(requested("a"))
    with pytest.raises(LedgerError, match="no entry"):
        ledger.receipt(index)


@pytest.mark.parametrize(
    "changes",
    [
        {"index": 3},
        {"index": 5},
        {"tree_size": 20},
        {"origin": "example.com/other"},
        {"leaf_hash": "00" * 32},
        {"path": ()},
        {"request_id": "b"},
        {"checkpoint": "nonsense"},
    ],
    ids="-".join,
)
def test_forged_receipt_is_refused(given: tuple[Receipt, bytes, str], changes: dict[str, object]) -> None:
    """A receipt that was changed in any field is tampered with."""
    receipt, body, key = given
    with pytest.raises(LedgerTamperedError):
        verify_receipt(receipt.model_copy(update=changes), body, key)


def test_forged_path_is_refused(given: tuple[Receipt, bytes, str]) -> None:
    """A path that is cut, lengthened, swapped or flipped leads nowhere."""
    receipt, body, key = given
    path = receipt.path
    forged = [path[:-1], (*path, path[0]), (path[1], path[0], *path[2:]), ("00" * 32, *path[1:])]
    for wrong in forged:
        with pytest.raises(LedgerTamperedError, match="does not lead"):
            verify_receipt(receipt.model_copy(update={"path": wrong}), body, key)


def test_receipt_of_another_record_is_refused(given: tuple[Receipt, bytes, str]) -> None:
    """A receipt is about one record only."""
    receipt, _, key = given
    with pytest.raises(LedgerTamperedError, match="not the one"):
        verify_receipt(receipt, canonical_bytes(requested("a")), key)


def test_receipt_of_another_ledger_is_refused(given: tuple[Receipt, bytes, str]) -> None:
    """A receipt does not verify under a key that did not sign it."""
    receipt, body, _ = given
    with pytest.raises(LedgerTamperedError):
        verify_receipt(receipt, body, LedgerKeys.generate("example.com/ledger").verifier_key)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"origin": 1}'])
def test_other_text_is_no_receipt(text: str) -> None:
    """What is not a receipt is said not to be one."""
    with pytest.raises(LedgerTamperedError, match="not a receipt"):
        Receipt.from_json(text)


def test_tlog_proof_verifies(given: tuple[Receipt, bytes, str]) -> None:
    """The same proof in the C2SP form verifies, with unsigned extra data or without."""
    receipt, body, key = given
    text = receipt.to_tlog_proof()
    assert text.startswith("c2sp.org/tlog-proof@v1\nindex 4\n")
    assert verify_tlog_proof(text, body, key).size == 10
    extra = text.replace("\nindex", "\nextra aGVsbG8=\nindex", 1)
    assert parse_tlog_proof(extra).extra == b"hello"
    assert verify_tlog_proof(extra, body, key).size == 10


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("@v1", "@v2"),
        ("index 4", "index 04"),
        ("index 4", "index 5"),
        ("index 4", "index"),
        ("index 4\n", ""),
        ("index 4\n", "index 4\nAAAA\n"),
        ("index 4\n", "index 4\n*\n"),
        ("\n\n", "\n"),
    ],
)
def test_forged_tlog_proof_is_refused(given: tuple[Receipt, bytes, str], old: str, new: str) -> None:
    """A proof that was changed is tampered with."""
    receipt, body, key = given
    with pytest.raises(LedgerTamperedError):
        verify_tlog_proof(receipt.to_tlog_proof().replace(old, new, 1), body, key)
