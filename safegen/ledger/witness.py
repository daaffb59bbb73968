"""Witnesses: somebody independent cosigns that a checkpoint extends all that they have seen of this ledger.

With cosignatures, whoever runs the ledger can't show different histories to different people unless the witnesses help.

Invariants: a cosignature is believed only once it is verified against the witness's key; a witness that fails, lies or
is silent changes nothing about the ledger.

Source: https://c2sp.org/tlog-witness, https://c2sp.org/tlog-cosignature
"""

from __future__ import annotations

import hashlib
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from safegen.errors import LedgerError, LedgerTamperedError
from safegen.ledger.checkpoint import (
    KEY_ID_BYTES,
    Checkpoint,
    decode_base64,
    encode_base64,
    is_key_name,
    note_body,
    note_signatures,
)

if TYPE_CHECKING:
    from safegen.ledger.publishing import Prove

WITNESSES_FILE = "witnesses"
"""In the ledger's folder: a line `KEY URL` for each witness; `#` begins a comment."""
_COSIGNATURE_V1 = b"\x04"
_KEY_BYTES = 32
_TIME_BYTES = 8
_LONGEST_ANSWER = 1 << 16
_TIMEOUT_S = 10.0

Post = Callable[[str, bytes], tuple[int, str, bytes]]
"""Posts bytes to an address; gives status, content type and body of the answer."""


@dataclass(frozen=True, slots=True)
class WitnessKey:
    """The public key of a witness, ``name+keyid+base64(0x04 || key)``."""

    name: str
    public: bytes

    @property
    def key_id(self) -> bytes:
        """SHA-256(name || 0x0A || 0x04 || public key), first four bytes."""
        return hashlib.sha256(self.name.encode() + b"\n" + _COSIGNATURE_V1 + self.public).digest()[:KEY_ID_BYTES]

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{encode_base64(_COSIGNATURE_V1 + self.public)}"

    @classmethod
    def parse(cls, text: str) -> WitnessKey:
        """Read a key.

        Raises:
            LedgerError: if the text is none, or its id is not the id of the key.
        """
        name, _, rest = text.strip().partition("+")
        key_id, _, encoded = rest.partition("+")
        try:
            key = decode_base64(encoded)
        except ValueError:
            key = b""
        found = cls(name, key[1:])
        if not is_key_name(name) or key[:1] != _COSIGNATURE_V1 or len(key) != 1 + _KEY_BYTES:
            raise LedgerError("not the key of a witness", hint="it reads name+keyid+base64, of Ed25519 cosignature/v1")
        if found.key_id.hex() != key_id:
            raise LedgerError(f"the key of the witness {name} does not have the id {key_id}")
        return found


def cosigned_at(text: str, key: WitnessKey) -> datetime | None:
    """When a witness cosigned a checkpoint; None if it did not.

    Raises:
        LedgerTamperedError: if the text is no signed note, or bears a cosignature of the witness that is not valid.
    """
    for name, value in note_signatures(text):
        if (name, value[:KEY_ID_BYTES]) != (key.name, key.key_id):
            continue
        stamp, signature = value[KEY_ID_BYTES : KEY_ID_BYTES + _TIME_BYTES], value[KEY_ID_BYTES + _TIME_BYTES :]
        seconds = int.from_bytes(stamp)
        message = f"cosignature/v1\ntime {seconds}\n{note_body(text)}".encode()
        try:
            Ed25519PublicKey.from_public_bytes(key.public).verify(signature, message)
            return datetime.fromtimestamp(seconds, UTC)
        except (InvalidSignature, ValueError, OverflowError) as error:
            raise LedgerTamperedError(f"the cosignature of {key.name} on the checkpoint is not valid") from error
    return None


class HttpWitness:
    """A witness that is asked over HTTP, as C2SP tlog-witness tells.

    Args:
        url: the witness's submission prefix.
        key: what its cosignatures are verified with.
        post: how to ask; replaced in tests.
    """

    def __init__(self, url: str, key: WitnessKey, *, post: Post | None = None) -> None:
        if not url.startswith(("https://", "http://")):
            raise LedgerError("a witness is asked over https", where=url)
        self._address = url.rstrip("/") + "/add-checkpoint"
        self._key = key
        self._post = post or _post
        self._seen = 0
        self._lock = threading.Lock()

    def __str__(self) -> str:
        return self._key.name

    def cosign(self, checkpoint: Checkpoint, prove: Prove) -> str:
        """The line of the witness's cosignature, verified.

        Raises:
            LedgerTamperedError: if the witness has seen a ledger of this name that this one does not extend.
            LedgerError: if it does not answer, or not as a witness does.
        """
        with self._lock:
            status, kind, answer = self._ask(checkpoint, prove)
            if status == 409 and kind == "text/x.tlog.size":  # noqa: PLR2004 - Conflict
                self._seen = _size_in(answer)
                if self._seen > checkpoint.size:
                    raise LedgerTamperedError(
                        f"{self} has cosigned {self._seen} entries of this ledger, and here are {checkpoint.size}",
                        hint="the ledger was set back, or two ledgers go by one name",
                    )
                status, kind, answer = self._ask(checkpoint, prove)
            if status != 200:  # noqa: PLR2004 - OK
                raise self._refusal(status)
            line = self._line(checkpoint, answer)
            self._seen = checkpoint.size
            return line

    def _ask(self, checkpoint: Checkpoint, prove: Prove) -> tuple[int, str, bytes]:
        seen = min(self._seen, checkpoint.size)
        proof = [encode_base64(step) for step in prove(seen, checkpoint.size)]
        return self._post(self._address, "\n".join([f"old {seen}", *proof, "", checkpoint.text]).encode())

    def _line(self, checkpoint: Checkpoint, answer: bytes) -> str:
        """The line by this witness in an answer."""
        lines = answer.decode("utf-8", "replace").splitlines(keepends=True)
        for line in lines:
            if line.startswith(f"\u2014 {self._key.name} ") and cosigned_at(checkpoint.text + line, self._key):
                return line
        raise LedgerError(f"{self} answered without its cosignature")

    def _refusal(self, status: int) -> LedgerError:
        says = {403: "it does not take the ledger's key", 404: "it does not know the ledger", 422: "it found a fork"}
        kind = LedgerTamperedError if status == 422 else LedgerError  # noqa: PLR2004 - as in the table
        return kind(f"{self} did not cosign: {says.get(status, f'status {status}')}")


def check_cosignatures(text: str, keys: Iterable[WitnessKey], quorum: int) -> dict[str, datetime]:
    """When each witness cosigned a checkpoint, by name.

    Raises:
        LedgerTamperedError: if fewer than `quorum` did, or a cosignature is not valid.
    """
    found = {key.name: moment for key in keys if (moment := cosigned_at(text, key)) is not None}
    if len(found) < quorum:
        names = ", ".join(found) or "nobody"
        raise LedgerTamperedError(f"{quorum} witnesses must have cosigned the checkpoint; {names} did")
    return found


def witnesses_of(folder: Path) -> list[HttpWitness]:
    """The witnesses that the folder of a ledger names.

    Raises:
        LedgerError: if the file that names them cannot be read.
    """
    path = folder / WITNESSES_FILE
    try:
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    except (OSError, ValueError) as error:
        raise LedgerError(f"cannot read the witnesses: {error}", where=str(path)) from error
    found = []
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].split()
        if words and len(words) != 2:  # noqa: PLR2004 - key and address
            raise LedgerError("a line names a witness as KEY URL", where=f"{path}:{number}")
        if words:
            found.append(HttpWitness(words[1], WitnessKey.parse(words[0])))
    return found


def _size_in(answer: bytes) -> int:
    text = answer.decode("ascii", "replace").removesuffix("\n")
    if not text.isascii() or not text.isdecimal() or len(text) > 19 or str(int(text)) != text:  # noqa: PLR2004 - 2^63
        raise LedgerError("the witness answered with a size that is none")
    return int(text)


def _post(url: str, body: bytes) -> tuple[int, str, bytes]:
    request = urllib.request.Request(url, data=body, method="POST")  # noqa: S310 - the scheme was checked
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310 - likewise
            return answer.status, answer.headers.get("Content-Type", ""), answer.read(_LONGEST_ANSWER)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers.get("Content-Type", ""), error.read(_LONGEST_ANSWER)
    except (OSError, ValueError) as error:
        raise LedgerError(f"the witness does not answer: {error}", where=url) from error
