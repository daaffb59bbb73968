"""Checkpoints: the signed heads of the tree, as C2SP tlog-checkpoint over C2SP signed-note with Ed25519.

Invariants: the origin of a checkpoint is the name of the key that signs it; the text is reproduced byte for byte; what
does not verify is a `LedgerTamperedError`, never a value.

Source: https://c2sp.org/tlog-checkpoint, https://c2sp.org/signed-note
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from safegen.errors import LedgerError, LedgerTamperedError
from safegen.ledger.merkle import HASH_BYTES

_ED25519 = b"\x01"
KEY_ID_BYTES = 4
_SIGNATURE_MARK = "\u2014 "
_BODY_LINES = 3
_MAXIMUM_SIGNATURES = 64
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")
_DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}")


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """The public key of a ledger: all that a stranger needs."""

    name: str
    public: bytes

    @property
    def key_id(self) -> bytes:
        """SHA-256(name || 0x0A || 0x01 || public key), first four bytes."""
        return hashlib.sha256(self.name.encode() + b"\n" + _ED25519 + self.public).digest()[:KEY_ID_BYTES]

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{encode_base64(_ED25519 + self.public)}"

    @classmethod
    def parse(cls, text: str) -> VerifierKey:
        """Read ``name+hex key id+base64(0x01 || public key)``.

        Raises:
            LedgerError: if the text is no such key, or its id is not the id of the key.
        """
        hint = "a verifier key reads name+keyid+base64, as in the file ledger.pub"
        name, _, rest = text.strip().partition("+")
        key_id, _, encoded = rest.partition("+")
        try:
            key = decode_base64(encoded)
        except ValueError as error:
            raise LedgerError("not a verifier key", hint=hint) from error
        if not is_key_name(name) or len(key) != 1 + HASH_BYTES or key[:1] != _ED25519:
            raise LedgerError("not an Ed25519 verifier key", hint=hint)
        found = cls(name=name, public=key[1:])
        if found.key_id.hex() != key_id:
            raise LedgerError(f"the verifier key of {name} does not have the id {key_id}", hint=hint)
        return found


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A tree head as it was signed; `text` is the whole signed note."""

    origin: str
    size: int
    root: bytes
    text: str


def is_key_name(name: str) -> bool:
    """Whether a key may bear this name: neither empty nor with spaces, plus signs or control characters."""
    return bool(name) and "+" not in name and name.isprintable() and not any(letter.isspace() for letter in name)


def sign_checkpoint(name: str, signing: Ed25519PrivateKey, *, size: int, root: bytes) -> Checkpoint:
    """Sign the head of a tree of `size` leaves. The name is the origin of the ledger and of the key."""
    body = f"{name}\n{size}\n{encode_base64(root)}\n"
    key = VerifierKey(name=name, public=signing.public_key().public_bytes_raw())
    signature = encode_base64(key.key_id + signing.sign(body.encode()))
    return Checkpoint(name, size, root, f"{body}\n{_SIGNATURE_MARK}{name} {signature}\n")


def parse_checkpoint(text: str) -> Checkpoint:
    """Read a checkpoint without believing it: only its form is checked.

    Raises:
        LedgerTamperedError: if the text is not a checkpoint.
    """
    body, _ = _split_note(text)
    lines = body.split("\n")[:-1]
    if len(lines) < _BODY_LINES or not all(lines):
        raise _malformed("it needs an origin, a size and a root")
    origin, size, root_text = lines[:_BODY_LINES]
    if not _DECIMAL.fullmatch(size):
        raise _malformed(f"{size!r} is not a tree size")
    try:
        root = decode_base64(root_text)
    except ValueError as error:
        raise _malformed("its root is not base64") from error
    if len(root) != HASH_BYTES:
        raise _malformed(f"its root has {len(root)} bytes, not {HASH_BYTES}")
    return Checkpoint(origin, int(size), root, text)


def verify_checkpoint(text: str, key: VerifierKey) -> Checkpoint:
    """Read a checkpoint that `key` has signed; signatures of other keys (witnesses) are passed over.

    Raises:
        LedgerTamperedError: if the text is malformed, of another origin, or not signed by the key.
    """
    checkpoint = parse_checkpoint(text)
    if checkpoint.origin != key.name:
        raise LedgerTamperedError(
            f"the checkpoint is of {checkpoint.origin}, the key of {key.name}", hint="use that ledger's own key"
        )
    body, signatures = _split_note(text)
    ours = [value[KEY_ID_BYTES:] for name, value in signatures if (name, value[:KEY_ID_BYTES]) == _identity(key)]
    if not ours:
        raise LedgerTamperedError(f"no signature of the checkpoint is by {key.name} ({key.key_id.hex()})")
    public = Ed25519PublicKey.from_public_bytes(key.public)
    for signature in ours:
        try:
            public.verify(signature, body.encode())
        except InvalidSignature as error:
            raise LedgerTamperedError(f"the signature of {key.name} on the checkpoint is not valid") from error
    return checkpoint


def note_body(text: str) -> str:
    """The signed part of a signed note.

    Raises:
        LedgerTamperedError: if the text is none.
    """
    return _split_note(text)[0]


def note_signatures(text: str) -> list[tuple[str, bytes]]:
    """The signatures of a signed note as (name, key id || signature), believed in nothing.

    Raises:
        LedgerTamperedError: if the text is none.
    """
    return _split_note(text)[1]


def encode_base64(data: bytes) -> str:
    """Standard base64 (RFC 4648, section 4)."""
    return base64.b64encode(data).decode("ascii")


def decode_base64(text: str) -> bytes:
    """Strict inverse of `encode_base64`: one text for each value.

    Raises:
        ValueError: if the text is anything else.
    """
    try:
        data = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from error
    if encode_base64(data) != text:
        raise ValueError("not the one base64 form of its bytes")
    return data


def _identity(key: VerifierKey) -> tuple[str, bytes]:
    return key.name, key.key_id


def _split_note(text: str) -> tuple[str, list[tuple[str, bytes]]]:
    """Part a signed note into its signed body and its signatures (name, key id || signature)."""
    if _CONTROL.search(text):
        raise _malformed("it holds control characters")
    head, separator, tail = text.rpartition("\n\n")
    lines = tail.split("\n")
    if not separator or lines.pop() != "" or not 1 <= len(lines) <= _MAXIMUM_SIGNATURES:
        raise _malformed("it needs a body, an empty line and signature lines")
    return head + "\n", [_signature(line) for line in lines]


def _signature(line: str) -> tuple[str, bytes]:
    name, space, encoded = line.removeprefix(_SIGNATURE_MARK).partition(" ")
    try:
        value = decode_base64(encoded)
    except ValueError as error:
        raise _malformed("a signature is not base64") from error
    if not line.startswith(_SIGNATURE_MARK) or not space or not is_key_name(name) or len(value) <= KEY_ID_BYTES:
        raise _malformed("a signature line is not one")
    return name, value


def _malformed(reason: str) -> LedgerTamperedError:
    return LedgerTamperedError(f"not a checkpoint: {reason}")
