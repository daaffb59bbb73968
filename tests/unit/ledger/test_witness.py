"""Witnesses: the protocol against a small witness of our own, over HTTP."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from typer.testing import CliRunner

from safegen.cli import app
from safegen.errors import LedgerError, LedgerTamperedError
from safegen.ledger import HttpWitness, Ledger, LedgerKeys, VerifierKey, WitnessKey, cosigned_at, merkle
from safegen.ledger.checkpoint import encode_base64, note_body, verify_checkpoint
from tests.unit.ledger.conftest import FakeClock, whole_request

NOW = 1_780_000_000


class SmallWitness:
    """What c2sp.org/tlog-witness asks of a witness of one log, with its state in memory."""

    def __init__(self, log: VerifierKey) -> None:
        self._signing = Ed25519PrivateKey.from_private_bytes(b"\x07" * 32)
        self.key = WitnessKey("witness.example", self._signing.public_key().public_bytes_raw())
        self._log = log
        self.size, self.root = 0, merkle.EMPTY_ROOT
        self.lie = b""

    def add_checkpoint(self, body: bytes) -> tuple[int, str, bytes]:
        head, _, note = body.decode().partition("\n\n")
        first, *lines = head.split("\n")
        old = int(first.removeprefix("old "))
        try:
            checkpoint = verify_checkpoint(note, self._log)
        except LedgerTamperedError:
            return 403, "", b""
        if old > checkpoint.size:
            return 400, "", b""
        if old != self.size:
            return 409, "text/x.tlog.size", b"%d\n" % self.size
        proof = [base64.b64decode(line) for line in lines]
        if not merkle.verify_consistency(old, checkpoint.size, self.root, checkpoint.root, proof):
            return 422, "", b""
        self.size, self.root = checkpoint.size, checkpoint.root
        message = f"cosignature/v1\ntime {NOW}\n{note_body(note)}".encode()
        signature = self.lie or self._signing.sign(message)
        value = encode_base64(self.key.key_id + NOW.to_bytes(8) + signature)
        return 200, "text/plain", f"\u2014 {self.key.name} {value}\n".encode()


@pytest.fixture
def witness(keys: LedgerKeys) -> SmallWitness:
    return SmallWitness(keys.verifier_key)


@pytest.fixture
def url(witness: SmallWitness) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found = witness.add_checkpoint(body) if self.path == "/w/add-checkpoint" else (404, "", b"")
            self.send_response(found[0])
            self.send_header("Content-Type", found[1])
            self.end_headers()
            self.wfile.write(found[2])

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/w"
    server.shutdown()
    server.server_close()
    thread.join()


def grown(folder: Path, keys: LedgerKeys, *names: str) -> str:
    """Append requests, close the ledger, and give the published checkpoint."""
    with Ledger.open(folder, keys=keys, clock=FakeClock()) as ledger:
        for name in names:
            ledger.append_signed(whole_request(name))
    return (folder / "checkpoint").read_text()


def test_a_witness_named_in_the_folder_cosigns_what_is_published(
    folder: Path, keys: LedgerKeys, witness: SmallWitness, url: str
) -> None:
    """The published checkpoint bears its signature too, also after a restart that forgot what it had seen."""
    folder.mkdir()
    (folder / "witnesses").write_text(f"# one witness\n{witness.key} {url}\n")
    for names in (("a", "b"), ("c",)):
        text = grown(folder, keys, *names)
        moment = cosigned_at(text, witness.key)
        assert moment is not None
        assert int(moment.timestamp()) == NOW
        assert verify_checkpoint(text, keys.verifier_key).size == witness.size
    assert witness.size == 15
    verified = CliRunner().invoke(app, ["audit", "verify", str(folder), "--witness", str(witness.key)])
    assert verified.exit_code == 0, verified.output


def test_a_missing_or_false_cosignature_is_tampering(folder: Path, keys: LedgerKeys, witness: SmallWitness) -> None:
    """Whoever asks for a witness's signature is told if there is none, or if it is not valid."""
    text = grown(folder, keys, "a")
    command = ["audit", "verify", str(folder), "--witness", str(witness.key)]
    assert CliRunner().invoke(app, command).exit_code == 4
    forged = encode_base64(witness.key.key_id + NOW.to_bytes(8) + b"\x01" * 64)
    (folder / "checkpoint").write_text(f"{text}\u2014 {witness.key.name} {forged}\n")
    result = CliRunner().invoke(app, command)
    assert (result.exit_code, "is not valid" in result.stderr) == (4, True)


def test_a_witness_that_lies_or_is_gone_changes_nothing(
    folder: Path, keys: LedgerKeys, witness: SmallWitness, url: str
) -> None:
    """A wrong signature is not published, and a witness that does not answer holds nothing up."""
    folder.mkdir()
    witness.lie = b"\x01" * 64
    gone = "http://127.0.0.1:1/"
    (folder / "witnesses").write_text(f"{witness.key} {url}\n{witness.key} {gone}\n")
    text = grown(folder, keys, "a")
    assert "witness.example" not in text
    assert verify_checkpoint(text, keys.verifier_key).size == 5


def test_a_witness_uncovers_a_ledger_that_was_set_back(
    tmp_path: Path, keys: LedgerKeys, witness: SmallWitness, url: str
) -> None:
    """A second ledger under the same name and key, shorter or different, gets no cosignature."""
    asked = HttpWitness(url, witness.key)
    with Ledger.open(tmp_path / "first", keys=keys) as first:
        first.append_many([*whole_request("a"), *whole_request("b")])
        head = first.checkpoint()
        assert witness.key.name in asked.cosign(head, first._prove_growth)
    for requests, says in ((["a"], "cosigned 10 entries"), (["x", "y", "z"], "found a fork")):
        with Ledger.open(tmp_path / requests[0], keys=keys) as other:
            for name in requests:
                other.append_many(whole_request(name))
            with pytest.raises(LedgerTamperedError, match=says):
                HttpWitness(url, witness.key).cosign(other.checkpoint(), other._prove_growth)


def test_an_unknown_ledger_is_told(tmp_path: Path, witness: SmallWitness, url: str) -> None:
    """A witness that does not take the key, or is at another address, is named with the reason."""
    with Ledger.open(tmp_path / "other", keys=LedgerKeys.generate("example.com/other")) as other:
        head = other.checkpoint()
        with pytest.raises(LedgerError, match="does not take the ledger's key"):
            HttpWitness(url, witness.key).cosign(head, other._prove_growth)
        with pytest.raises(LedgerError, match="does not know the ledger"):
            HttpWitness(url + "/elsewhere", witness.key).cosign(head, other._prove_growth)


@pytest.mark.parametrize("answer", [b"x\n", b"-1\n", b"007\n", b"9" * 30, b"\xff", b""])
def test_a_size_that_is_none_is_an_error(keys: LedgerKeys, witness: SmallWitness, answer: bytes) -> None:
    """What a witness says is not believed blindly."""
    asked = HttpWitness("https://w.example", witness.key, post=lambda *_: (409, "text/x.tlog.size", answer))
    with pytest.raises(LedgerError, match="size that is none"):
        asked.cosign(keys.sign(3, b"\x11" * 32), lambda *_: [])


@pytest.mark.parametrize("line", ["nonsense", "a b c", "witness.example+00000000+AAAA https://w.example"])
def test_a_folder_with_a_wrong_witness_is_an_error(folder: Path, keys: LedgerKeys, line: str) -> None:
    """A line that names no witness is an error with its place, not passed over."""
    folder.mkdir()
    (folder / "witnesses").write_text(line + "\n")
    with pytest.raises(LedgerError):
        Ledger.open(folder, keys=keys)


def test_keys_of_witnesses_are_of_their_own_kind() -> None:
    """A key reads back as itself, and a ledger's key is no witness's."""
    key = WitnessKey("w", Ed25519PrivateKey.from_private_bytes(b"\x09" * 32).public_key().public_bytes_raw())
    assert WitnessKey.parse(str(key)) == key
    with pytest.raises(LedgerError, match="not the key of a witness"):
        WitnessKey.parse("example.com/ledger+00000000+" + encode_base64(b"\x01" + b"\x00" * 32))
