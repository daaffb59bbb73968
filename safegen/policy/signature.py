"""Signed policies: Ed25519 over what a policy says, in a file beside it.

Invariants: what is signed is the digest of the content, overlays included, with id and version, so that neither layout
nor comments matter and no signature can be moved to another policy; verifying fails closed.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from pathlib import Path
from typing import Annotated, Literal

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import StringConstraints, ValidationError

from safegen.errors import PolicySignatureError
from safegen.policy.load import load_policy_file
from safegen.policy.model import Policy
from safegen.policy.parts import Closed

SUFFIX = ".sig"
_CONTEXT = "safegen policy signature v1"


class PolicySignature(Closed):
    """The content of a signature file."""

    format: Literal["safegen-policy-signature/v1"] = "safegen-policy-signature/v1"
    policy: str
    version: int
    digest: Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]
    key_id: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}$")]
    signature: str


def key_id(key: Ed25519PublicKey) -> str:
    """The first 16 hex digits of the sha256 of the raw public key."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:16]


def sign_policy(policy: Policy, key: Ed25519PrivateKey) -> PolicySignature:
    """Sign what a policy says."""
    signature = base64.b64encode(key.sign(_message(policy))).decode()
    return PolicySignature(
        policy=policy.id,
        version=policy.version,
        digest=policy.digest,
        key_id=key_id(key.public_key()),
        signature=signature,
    )


def verify_policy(policy: Policy, signature: PolicySignature, key: Ed25519PublicKey) -> None:
    """Check that a key signed what a policy says.

    Raises:
        PolicySignatureError: it did not; the message says what differs.
    """
    if signature.key_id != key_id(key):
        raise PolicySignatureError(f"the policy was signed by key {signature.key_id}, not by {key_id(key)}")
    if (signature.policy, signature.version, signature.digest) != (policy.id, policy.version, policy.digest):
        said = f"{signature.policy} version {signature.version} ({signature.digest})"
        hint = "have it signed again, or go back to what was signed"
        raise PolicySignatureError(f"the signature is for {said}, the policy says something else", hint=hint)
    try:
        key.verify(base64.b64decode(signature.signature, validate=True), _message(policy))
    except (InvalidSignature, binascii.Error) as error:
        raise PolicySignatureError("the signature is false") from error


def read_signature(path: Path) -> PolicySignature:
    """Read a signature file.

    Raises:
        PolicySignatureError: there is none, or it is no signature.
    """
    try:
        return PolicySignature.model_validate_json(path.read_bytes())
    except OSError as error:
        raise PolicySignatureError(f"no signature: {error.strerror}", where=str(path)) from error
    except ValidationError as error:
        raise PolicySignatureError("the file is no signature of a policy", where=str(path)) from error


def private_key(pem: bytes, *, where: str) -> Ed25519PrivateKey:
    """The Ed25519 private key of a PEM text without a password.

    Raises:
        PolicySignatureError: it holds none.
    """
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise PolicySignatureError("not a PEM private key without password", where=where) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise PolicySignatureError("the key is not an Ed25519 key", where=where)
    return key


def public_key(pem: bytes, *, where: str) -> Ed25519PublicKey:
    """The Ed25519 public key of a PEM text.

    Raises:
        PolicySignatureError: it holds none.
    """
    try:
        key = serialization.load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise PolicySignatureError("not a PEM public key", where=where) from error
    if not isinstance(key, Ed25519PublicKey):
        raise PolicySignatureError("the key is not an Ed25519 key", where=where)
    return key


def _message(policy: Policy) -> bytes:
    said = {"context": _CONTEXT, "policy": policy.id, "version": policy.version, "digest": policy.digest}
    return json.dumps(said, sort_keys=True, separators=(",", ":")).encode()


def load_signed_policy_file(path: str | Path, key: Ed25519PublicKey) -> Policy:
    """Read a policy file whose signature stands beside it; see `load_policy_file`.

    Raises:
        PolicyError: the file cannot be read or used.
        PolicySignatureError: it is not signed by the key as it is.
    """
    policy = load_policy_file(path)
    verify_policy(policy, read_signature(signature_path(path)), key)
    return policy


def signature_path(path: str | Path) -> Path:
    """Where the signature of a policy file stands: beside it."""
    beside = Path(path)
    return beside.with_name(beside.name + SUFFIX)
