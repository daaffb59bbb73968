"""Sealed prompts: the text goes into the record encrypted, its key into a file beside the ledger.

Invariants: each text has a key of its own, which is durable before the sealed text exists; a sealed text opens only as
what it was sealed as (request and field are bound to it); destroying the keys of a request makes its texts unreadable
for good, while the record, its hash and every proof stay as they are.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from safegen.errors import LedgerError, LedgerTamperedError, LedgerWriteError
from safegen.ledger.checkpoint import decode_base64, encode_base64
from safegen.ledger.parts import SealedText

PROMPT_KEYS_FILE = "prompt-keys.db"
LONGEST_TEXT = 16_000
"""Bytes of UTF-8 that can be sealed, so that a record with two texts stays below the limit of an entry."""
_NONCE_BYTES = 12
_BUSY_SECONDS = 10
SealedField = Literal["prompt", "negative_prompt"]


class PromptKeys:
    """The keys of sealed texts, one row each, in a database that overwrites what it deletes."""

    def __init__(self, folder: Path, *, random: Callable[[int], bytes] = os.urandom) -> None:
        self._path = folder / PROMPT_KEYS_FILE
        self._random = random

    def seal(self, request_id: str, field: SealedField, text: str) -> SealedText:
        """Encrypt a text under a new key, which is kept first.

        Raises:
            LedgerWriteError: if the text is longer than 16,000 bytes, the field of this request is sealed already, or
                the key cannot be kept.
        """
        content = text.encode("utf-8", "surrogatepass")
        if len(content) > LONGEST_TEXT:
            raise LedgerWriteError(
                f"a text of {len(content)} bytes cannot be sealed; at most {LONGEST_TEXT} are",
                hint="shorten the prompt",
            )
        key, nonce = self._random(32), self._random(_NONCE_BYTES)
        with self._opened(LedgerWriteError) as database:
            database.execute("INSERT INTO keys VALUES (?, ?, ?)", (request_id, field, key))
        sealed = ChaCha20Poly1305(key).encrypt(nonce, content, _bound(request_id, field))
        return SealedText(cipher="chacha20-poly1305", nonce=nonce.hex(), text=encode_base64(sealed))

    def open(self, request_id: str, field: SealedField, sealed: SealedText) -> str | None:
        """Decrypt a text; None if its key was destroyed.

        Raises:
            LedgerTamperedError: if the sealed text is not the one that was sealed for this request and field.
            LedgerError: if the keys cannot be read.
        """
        if not self._path.exists():
            return None
        with self._opened(LedgerError) as database:
            found = database.execute(
                "SELECT key FROM keys WHERE request_id = ? AND field = ?", (request_id, field)
            ).fetchone()
        if found is None:
            return None
        try:
            content = ChaCha20Poly1305(found[0]).decrypt(
                bytes.fromhex(sealed.nonce), decode_base64(sealed.text), _bound(request_id, field)
            )
        except (InvalidTag, ValueError) as error:
            raise LedgerTamperedError(f"the sealed {field} of request {request_id} is not what was sealed") from error
        return content.decode("utf-8", "surrogatepass")

    def destroy(self, request_id: str) -> int:
        """Destroy the keys of a request for good; gives how many there were.

        Raises:
            LedgerWriteError: if they cannot be destroyed.
        """
        if not self._path.exists():
            return 0
        with self._opened(LedgerWriteError) as database:
            return database.execute("DELETE FROM keys WHERE request_id = ?", (request_id,)).rowcount

    @contextmanager
    def _opened(self, kind: type[LedgerError]) -> Iterator[sqlite3.Connection]:
        try:
            if not self._path.exists():
                os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))
            database = sqlite3.connect(self._path, timeout=_BUSY_SECONDS)
            try:
                for statement in _SETTINGS:
                    database.execute(statement)
                with database:
                    yield database
            finally:
                database.close()
        except (OSError, sqlite3.Error) as error:
            raise kind(
                f"the keys of sealed prompts failed: {error}", where=str(self._path), hint="check the file and its disk"
            ) from error


_SETTINGS = (
    "PRAGMA journal_mode = TRUNCATE",
    "PRAGMA synchronous = FULL",
    "PRAGMA secure_delete = ON",
    "CREATE TABLE IF NOT EXISTS keys (request_id TEXT, field TEXT, key BLOB NOT NULL, PRIMARY KEY (request_id, field))",
)


def _bound(request_id: str, field: SealedField) -> bytes:
    return f"safegen sealed prompt\n{request_id}\n{field}".encode()
