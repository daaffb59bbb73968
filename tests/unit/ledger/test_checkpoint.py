"""Checkpoints and verifier keys, against texts that other implementations made."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from safegen.errors import LedgerError, LedgerTamperedError
from safegen.ledger import LedgerKeys, VerifierKey, parse_checkpoint, verify_checkpoint
from safegen.ledger.checkpoint import sign_checkpoint
from safegen.ledger.merkle import EMPTY_ROOT

FIXED = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
KNOWN_KEY = "example.com/ledger+93727de6+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4"
KNOWN_TEXT = (
    "example.com/ledger\n"
    "0\n"
    "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n"
    "\n"
    "\u2014 example.com/ledger "
    "k3J95nsx4xtc00UezaxVolDaafT+vRA0WwvjGE8j2+oY8gBaLcSn87w+1tyiREbyJ8eNlQZINcLqPnkB3qW8RXGkSg8=\n"
)


def fixed_key() -> VerifierKey:
    return VerifierKey("example.com/ledger", FIXED.public_key().public_bytes_raw())


def test_known_answer() -> None:
    """A fixed key over the empty tree gives this text, byte for byte."""
    assert sign_checkpoint("example.com/ledger", FIXED, size=0, root=EMPTY_ROOT).text == KNOWN_TEXT
    assert str(fixed_key()) == KNOWN_KEY
    assert verify_checkpoint(KNOWN_TEXT, VerifierKey.parse(KNOWN_KEY)).size == 0


def test_key_of_the_reference_implementation() -> None:
    """The key and the note in the documentation of Go's sumdb/note agree with our key id and signature check."""
    key = VerifierKey.parse("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")
    text = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
    blob = base64.b64decode(
        "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="
    )
    assert blob[:4] == key.key_id
    Ed25519PublicKey.from_public_bytes(key.public).verify(blob[4:], text.encode())


FORGERIES = {
    "other size": ("\n0\n", "\n1\n"),
    "leading zero": ("\n0\n", "\n00\n"),
    "negative size": ("\n0\n", "\n-1\n"),
    "other root": ("47DEQ", "57DEQ"),
    "short root": ("47DEQpj8", ""),
    "other origin": ("example.com/ledger\n0", "example.com/other\n0"),
    "unpadded root": ("=\n\n", "\n\n"),
    "extension line": ("=\n\n", "=\nextra\n\n"),
    "carriage returns": ("\n", "\r\n"),
    "hyphen for the dash": ("\u2014 ", "- "),
    "no empty line": ("\n\n", "\n"),
    "no signature": ("\u2014 example.com/ledger ", "\u2014 example.org/witness "),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_forged_checkpoint_is_refused(name: str) -> None:
    """A checkpoint that was changed in any part is tampered with."""
    old, new = FORGERIES[name]
    forged = KNOWN_TEXT.replace(old, new)
    assert forged != KNOWN_TEXT
    with pytest.raises(LedgerTamperedError):
        verify_checkpoint(forged, fixed_key())


@pytest.mark.parametrize("text", [KNOWN_TEXT + "x", KNOWN_TEXT + "\n", KNOWN_TEXT[:-1], "", "\n\n"])
def test_trailing_or_missing_bytes_are_refused(text: str) -> None:
    """Nothing may follow the last signature line, and nothing may be cut off."""
    with pytest.raises(LedgerTamperedError):
        verify_checkpoint(text, fixed_key())


def test_every_flipped_bit_of_the_signature_is_refused() -> None:
    """No bit of the signature is idle."""
    head, _, encoded = KNOWN_TEXT.rstrip("\n").rpartition(" ")
    blob = base64.b64decode(encoded)
    for bit in range(len(blob) * 8):
        forged = bytearray(blob)
        forged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(LedgerTamperedError):
            verify_checkpoint(f"{head} {base64.b64encode(forged).decode()}\n", fixed_key())


def test_signature_of_another_key_is_refused() -> None:
    """A key of the same name and another value signs nothing for us."""
    with pytest.raises(LedgerTamperedError, match="no signature"):
        verify_checkpoint(KNOWN_TEXT, LedgerKeys.generate("example.com/ledger").verifier_key)


def test_witness_signatures_are_passed_over() -> None:
    """Signatures of keys that we do not know neither help nor harm."""
    witnessed = KNOWN_TEXT + "\u2014 witness.example AAAAAAAA\n"
    assert verify_checkpoint(witnessed, fixed_key()).text == witnessed
    assert parse_checkpoint(witnessed).origin == "example.com/ledger"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name",
        "name+00000000+AAAA",
        KNOWN_KEY.replace("+", " "),
        KNOWN_KEY.replace("ledger", "other"),
        KNOWN_KEY[:-1],
        KNOWN_KEY + "=",
    ],
)
def test_malformed_key_is_an_error(text: str) -> None:
    """A text that is no verifier key, or bears the id of another, is refused."""
    with pytest.raises(LedgerError):
        VerifierKey.parse(text)
