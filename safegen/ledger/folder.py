"""What lies in the folder of a ledger, and how it gets there.

Invariants: keys are made once, for a new ledger only; a ledger whose keys are gone is never given others, as it could
not go on signing under its name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from safegen.errors import LedgerError, LedgerWriteError
from safegen.ledger.checkpoint import VerifierKey
from safegen.ledger.files import create_whole
from safegen.ledger.keys import LedgerKeys
from safegen.ledger.store import Store

if TYPE_CHECKING:
    from pathlib import Path

DATABASE_FILE = "ledger.db"
PUBLIC_KEY_FILE = "ledger.pub"
CHECKPOINT_FILE = "checkpoint"
KEYS_FILE = "keys.json"
ADDRESS_FILE = "database.url"
"""Where the ledger's database is, if it is not the file beside it."""


def read_public_key(folder: Path) -> VerifierKey:
    """The verifier key that lies beside the ledger. It proves nothing about who wrote it.

    Raises:
        LedgerError: if there is none.
    """
    path = folder / PUBLIC_KEY_FILE
    try:
        return VerifierKey.parse(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise LedgerError(
            f"cannot read the public key: {error}", where=str(path), hint="pass the key that you were given"
        ) from error


def open_store(folder: Path, *, read_only: bool = False, create: bool = False) -> Store:
    """Open the database of a ledger: the one at the address in the folder, else the file in it.

    Raises:
        LedgerError: if it is missing or cannot be opened.
    """
    address = folder / ADDRESS_FILE
    if not address.exists():
        return Store.open(folder / DATABASE_FILE, read_only=read_only, create=create)
    from safegen.ledger.postgresql import PostgresStore

    try:
        url = address.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise LedgerError(f"cannot read the database's address: {error.strerror}", where=str(address)) from error
    return PostgresStore.at(url, read_only=read_only, create=create)


def has_database(folder: Path) -> bool:
    """Whether the folder is that of a ledger already."""
    return (folder / DATABASE_FILE).exists() or (folder / ADDRESS_FILE).exists()


def keep_address(folder: Path, url: str) -> None:
    """Note where the ledger's database is; a ledger does not move.

    Raises:
        LedgerError: if the folder's ledger is elsewhere.
    """
    path = folder / ADDRESS_FILE
    elsewhere = LedgerError("the ledger of this folder is in another database", where=str(path))
    if (folder / DATABASE_FILE).exists():
        raise elsewhere
    try:
        create_whole(path, url + "\n", mode=0o600)
    except FileExistsError:
        if path.read_text(encoding="utf-8").strip() != url:
            raise elsewhere from None
    except OSError as error:
        raise LedgerWriteError(f"cannot write the address: {error.strerror}", where=str(path)) from error


def make_folder(folder: Path) -> None:
    """Make the folder if it is missing.

    Raises:
        LedgerWriteError: if it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LedgerWriteError(
            f"cannot create the folder: {error.strerror}", where=str(folder), hint="choose a folder that may be written"
        ) from error


def own_keys(folder: Path, *, may_generate: bool) -> LedgerKeys:
    """The keys in the folder, made now if they may be.

    Raises:
        LedgerError: if they are missing and may not be made, or cannot be read.
    """
    path = folder / KEYS_FILE
    if path.exists():
        return LedgerKeys.load(path)
    if not may_generate or (folder / PUBLIC_KEY_FILE).exists():
        raise LedgerError("the ledger's keys are missing", where=str(path), hint="restore keys.json, or pass the keys")
    try:
        LedgerKeys.generate().save(path)
    except LedgerWriteError:
        if not path.exists():
            raise
    return LedgerKeys.load(path)


def publish_key(folder: Path, keys: LedgerKeys) -> None:
    """Write the public key beside the ledger, or hold it against the one that is there.

    Raises:
        LedgerError: if the ledger has another key.
    """
    path, text = folder / PUBLIC_KEY_FILE, str(keys.verifier_key)
    try:
        create_whole(path, text + "\n", mode=0o644)
    except FileExistsError:
        if str(read_public_key(folder)) != text:
            raise LedgerError("the keys are not those of this ledger", where=str(path)) from None
    except OSError as error:
        raise LedgerWriteError(
            f"cannot write the public key: {error.strerror}", where=str(path), hint="check the mode of the folder"
        ) from error
