"""Sealed prompts: read with their key, bound to their place, gone with their key, and never in the way of a proof."""

from __future__ import annotations

import base64
import stat
from pathlib import Path

import pytest

from safegen.errors import LedgerTamperedError, LedgerWriteError
from safegen.ledger import Ledger, LedgerReader, PromptKeys, Requested, SealedText, canonical_bytes, verify_ledger
from tests.unit.ledger.conftest import requested
from tests.unit.ledger.test_audit_command import run
from tests.unit.ledger.test_second_verifier import SECOND

PROMPT = "a portrait of Ännchen \x1b[31m\n" + "x" * 100


@pytest.fixture
def sealed_folder(folder: Path) -> Path:
    """A ledger with one request that has a sealed prompt and no sealed negative prompt, and one without any."""
    with Ledger.open(folder) as ledger:
        sealed = ledger.seal("r1", "prompt", PROMPT)
        ledger.append(requested("r1").model_copy(update={"sealed_prompt": sealed}))
        ledger.append(requested("r2"))
        ledger.checkpoint()
    return folder


def sealed_of(folder: Path, request_id: str = "r1") -> SealedText:
    with LedgerReader.open_read_only(folder) as reader:
        record = reader.find(request_id)[0].record
    assert isinstance(record, Requested)
    assert record.sealed_prompt is not None
    return record.sealed_prompt


def test_sealed_prompt_is_read_with_its_key_only(sealed_folder: Path) -> None:
    """The text comes back exactly; neither the database nor the record holds a word of it."""
    assert PromptKeys(sealed_folder).open("r1", "prompt", sealed_of(sealed_folder)) == PROMPT
    for path in sealed_folder.iterdir():
        assert b"portrait" not in path.read_bytes()
    assert stat.S_IMODE((sealed_folder / "prompt-keys.db").stat().st_mode) == 0o600


def test_every_text_has_its_own_key(folder: Path) -> None:
    """The same text sealed for two requests, and for two fields, gives unlike ciphertexts."""
    folder.mkdir()
    keys = PromptKeys(folder)
    sealed = [keys.seal("a", "prompt", "x"), keys.seal("b", "prompt", "x"), keys.seal("a", "negative_prompt", "x")]
    assert len({one.text for one in sealed}) == 3


def test_forgotten_prompt_is_gone_and_proofs_hold(sealed_folder: Path) -> None:
    """After `forget` nobody reads the text, its key is nowhere in the file, and ledger and proofs verify as before."""
    import sqlite3

    path = sealed_folder / "prompt-keys.db"
    connection = sqlite3.connect(path)
    (key,) = connection.execute("SELECT key FROM keys").fetchone()
    connection.close()
    assert key in path.read_bytes()
    before = run("prove", sealed_folder, "r1")
    assert run("forget", sealed_folder, "r1", "--yes") == (0, "1 keys destroyed\n")
    assert PromptKeys(sealed_folder).open("r1", "prompt", sealed_of(sealed_folder)) is None
    assert all(key not in one.read_bytes() for one in sealed_folder.iterdir())
    public = (sealed_folder / "ledger.pub").read_text()
    assert verify_ledger(sealed_folder, public).ok
    assert SECOND.verify_log(sealed_folder, public)["ok"]
    assert run("prove", sealed_folder, "r1") == before
    assert "destroyed" in run("unseal", sealed_folder, "r1")[1]


@pytest.mark.parametrize("change", ["text", "nonce", "request", "field"])
def test_sealed_text_opens_only_where_it_was_sealed(sealed_folder: Path, change: str) -> None:
    """A changed byte, another request and another field are refused as tampering, not shown as another text."""
    sealed, keys = sealed_of(sealed_folder), PromptKeys(sealed_folder)
    if change == "text":
        raw = bytearray(base64.b64decode(sealed.text))
        raw[0] ^= 1
        sealed = sealed.model_copy(update={"text": base64.b64encode(raw).decode()})
    if change == "nonce":
        sealed = sealed.model_copy(update={"nonce": "00" * 12})
    request_id = "r9" if change == "request" else "r1"
    keys.seal("r9", "prompt", "other")
    keys.seal("r1", "negative_prompt", "other")
    with pytest.raises(LedgerTamperedError, match="not what was sealed"):
        keys.open(request_id, "negative_prompt" if change == "field" else "prompt", sealed)


def test_nothing_is_sealed_twice_or_too_long(folder: Path) -> None:
    """A second text for the same place, and one that would not fit a record, are errors; the longest fits twice."""
    folder.mkdir()
    keys = PromptKeys(folder)
    first = keys.seal("a", "prompt", "x" * 16_000)
    second = keys.seal("a", "negative_prompt", "x" * 16_000)
    record = requested("a").model_copy(update={"sealed_prompt": first, "sealed_negative_prompt": second})
    assert len(canonical_bytes(record)) < 65_535
    with pytest.raises(LedgerWriteError, match="cannot be sealed"):
        keys.seal("b", "prompt", "x" * 16_001)
    with pytest.raises(LedgerWriteError, match="UNIQUE"):
        keys.seal("a", "prompt", "again")


def test_unsealing_on_the_command_line(sealed_folder: Path) -> None:
    """`unseal` shows the text without steering the terminal, and says so where nothing is sealed or nobody asked."""
    code, output = run("unseal", sealed_folder, "r1")
    assert code == 0
    assert output.startswith("prompt: a portrait of Ännchen \\x1b[31m\\n")
    assert run("unseal", sealed_folder, "r2") == (0, "nothing: was sealed for this request\n")
    assert run("unseal", sealed_folder, "nobody")[0] == 1
    assert run("forget", sealed_folder, "nobody", "--yes")[0] == 1
    assert run("forget", sealed_folder, "r1")[0] == 1
    assert PromptKeys(sealed_folder).open("r1", "prompt", sealed_of(sealed_folder)) == PROMPT
