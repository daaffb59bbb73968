"""The secrets of a ledger: the key that signs checkpoints and the key that commits to prompts.

Invariants: a key file is created once, whole, and readable by its owner only; keys never appear in a `repr`, a log line
or a record. Whoever has the commitment key can test whether a known prompt was used; without it nobody can.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from safegen.errors import LedgerError, LedgerWriteError
from safegen.ledger.checkpoint import (
    Checkpoint,
    VerifierKey,
    decode_base64,
    encode_base64,
    is_key_name,
    sign_checkpoint,
)
from safegen.ledger.events import warn
from safegen.ledger.files import create_whole

KEY_BYTES = 32
_FORMAT = "safegen-ledger-keys/1"
_OTHERS = 0o077


@dataclass(frozen=True, slots=True)
class LedgerKeys:
    """Signing key, commitment key (32 bytes) and the name that is the ledger's origin."""

    signing: Ed25519PrivateKey = field(repr=False)
    commitment_key: bytes = field(repr=False)
    name: str

    def __post_init__(self) -> None:
        if len(self.commitment_key) != KEY_BYTES:
            raise ValueError(f"a commitment key has {KEY_BYTES} bytes, not {len(self.commitment_key)}")
        if not is_key_name(self.name):
            raise ValueError(f"{self.name!r} cannot name a key: no spaces, plus signs or control characters")

    @classmethod
    def generate(cls, name: str | None = None, *, random: Callable[[int], bytes] = os.urandom) -> LedgerKeys:
        """Make new keys. Without a name, one is derived from the public key, so that no two ledgers share it."""
        signing = Ed25519PrivateKey.from_private_bytes(random(KEY_BYTES))
        if name is None:
            name = f"safegen.local/{hashlib.sha256(signing.public_key().public_bytes_raw()).hexdigest()[:16]}"
        return cls(signing=signing, commitment_key=random(KEY_BYTES), name=name)

    @property
    def verifier_key(self) -> VerifierKey:
        """The public half, for whoever verifies."""
        return VerifierKey(name=self.name, public=self.signing.public_key().public_bytes_raw())

    def commit(self, text: str) -> str:
        """Keyed commitment to a text: HMAC-SHA256 over its UTF-8 bytes, as hex."""
        return hmac.new(self.commitment_key, text.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()

    def sign(self, size: int, root: bytes) -> Checkpoint:
        """Sign a tree head."""
        return sign_checkpoint(self.name, self.signing, size=size, root=root)

    def save(self, path: Path) -> None:
        """Write the keys to a new file that only its owner may read.

        Raises:
            LedgerWriteError: if the file exists or cannot be written.
        """
        content = {
            "format": _FORMAT,
            "name": self.name,
            "signing_key": encode_base64(self.signing.private_bytes_raw()),
            "commitment_key": encode_base64(self.commitment_key),
        }
        try:
            create_whole(path, json.dumps(content, indent=2) + "\n", mode=0o600)
        except FileExistsError as error:
            raise LedgerWriteError("a key file is never overwritten", where=str(path), hint="move it away") from error
        except OSError as error:
            raise LedgerWriteError(f"cannot write the keys: {error.strerror}", where=str(path)) from error

    @classmethod
    def load(cls, path: Path) -> LedgerKeys:
        """Read keys; a file that others may read is used, and warned about.

        Raises:
            LedgerError: if the file cannot be read or holds no keys.
        """
        try:
            mode = path.stat().st_mode
            keys = _parse(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise LedgerError(f"cannot read the keys: {error.strerror}", where=str(path)) from error
        except (ValueError, KeyError, TypeError) as error:
            raise LedgerError("not a key file of a ledger", where=str(path), hint="restore it from a copy") from error
        if os.name == "posix" and mode & _OTHERS:
            warn("ledger.keys_exposed", path=str(path), mode=f"{mode & 0o777:04o}", hint=f"chmod 600 {path}")
        return keys


def _parse(text: str) -> LedgerKeys:
    content = json.loads(text)
    if content["format"] != _FORMAT:
        raise ValueError(f"unknown format {content['format']!r}")
    return LedgerKeys(
        signing=Ed25519PrivateKey.from_private_bytes(decode_base64(content["signing_key"])),
        commitment_key=decode_base64(content["commitment_key"]),
        name=content["name"],
    )
