"""The policy file that a guard follows: read again when it, a file that it extends, or its signature changes.

Invariants: what comes out is a whole, checked policy, signed by the required key if one is; each state of the files is
judged once, so that a broken file costs one reading and not one a request.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from safegen.ledger import Decider
from safegen.policy import Policy, load_policy_file
from safegen.policy.load import read_file
from safegen.policy.signature import key_id, read_signature, signature_path, verify_policy

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

Stamp = tuple[str, int, int, int]
"""Path, inode, size and time of change (ns) of a file; zeros if there is none."""


class PolicyFile:
    """One policy file, and what was last read of it."""

    def __init__(self, path: Path, *, key: Ed25519PublicKey | None = None) -> None:
        self.path = path
        self._key = key
        self._files: tuple[str, ...] = (str(path),)
        self._stamps: tuple[Stamp, ...] = ()

    @property
    def decider(self) -> Decider:
        """What puts the file's policy into force: the key that signed it, else the file itself."""
        if self._key is not None:
            return Decider(kind="key", name=key_id(self._key))
        return Decider(kind="file", name=self.path.name)

    def changed(self) -> bool:
        """Whether a file that the policy rests on is not what it was when it was last read, well or badly."""
        return self._stamps != _stamps(self._files)

    def read(self) -> Policy:
        """Read the policy and everything that it rests on.

        Raises:
            PolicyError: a file is missing or wrong, or the signature is.
        """
        files = [str(self.path), *([str(signature_path(self.path))] if self._key else [])]

        def read(path: str) -> bytes:
            files.append(path)
            return read_file(path)

        # Stamps from before the reading, so that what changes meanwhile is seen as changed afterwards.
        known = {stamp[0]: stamp for stamp in _stamps(self._files)}
        try:
            policy = load_policy_file(self.path, read=read)
        finally:
            self._files = tuple(dict.fromkeys(files))
            self._stamps = tuple(known.get(file) or _stamp(file) for file in self._files)
        if self._key is not None:
            verify_policy(policy, read_signature(signature_path(self.path)), self._key)
        return policy


def _stamps(files: tuple[str, ...]) -> tuple[Stamp, ...]:
    return tuple(_stamp(file) for file in files)


def _stamp(file: str) -> Stamp:
    try:
        found = Path(file).stat()
    except OSError:
        return (file, 0, 0, 0)
    return (file, found.st_ino, found.st_size, found.st_mtime_ns)
