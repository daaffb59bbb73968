"""`safegen policy fmt | sign | verify`: policy files in one layout, and signed.

Invariants: a file is replaced as a whole or left alone; a private key is for its owner only. Exit codes: 0 fine,
1 error, 4 the layout is another one (`fmt --check`), or a signature is missing or false.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

_NOT_SO = 4
AsJson = Annotated[bool, typer.Option("--json", help="Write JSON for programs.")]
Files = Annotated[list[Path], typer.Argument(metavar="PATH...", help="Policy files.")]


def fmt(
    paths: Files,
    *,
    check: Annotated[bool, typer.Option("--check", help="Change nothing; exit with 4 if something would.")] = False,
    as_json: AsJson = False,
) -> None:
    """Lay out policy files in one way; what they say stays the same."""
    from safegen.policy.layout import laid_out

    changed = []
    for path in paths:
        text = _read(path).decode("utf-8", "replace")
        result = laid_out(text, source=str(path))
        if result != text:
            changed.append(str(path))
            if not check:
                _replace(path, result)
    if as_json:
        typer.echo(json.dumps({"changed": changed}, indent=2))
    else:
        for name in changed:
            typer.echo(f"{name}: {'would be laid out' if check else 'laid out'}")
    if changed and check:
        raise typer.Exit(_NOT_SO)


def sign(
    paths: Files,
    key: Annotated[Path, typer.Option(metavar="FILE", help="Ed25519 private key, PEM.")],
    *,
    create: Annotated[bool, typer.Option("--create", help="Make the key, and FILE.pub, if it is not there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Sign what policies say; the signature of `x.yaml` is written to `x.yaml.sig`."""
    from safegen.policy import load_policy_file
    from safegen.policy.signature import private_key, sign_policy, signature_path

    if create and not key.exists():
        _create_key(key)
    loaded = private_key(_read(key), where=str(key))
    signed = []
    for path in paths:
        signature = sign_policy(load_policy_file(path), loaded)
        target = signature_path(path)
        _replace(target, signature.model_dump_json(indent=2) + "\n")
        signed.append({"path": str(path), "signature": str(target), "key_id": signature.key_id})
    if as_json:
        typer.echo(json.dumps(signed, indent=2))
    else:
        for one in signed:
            typer.echo(f"{one['path']}: signed by {one['key_id']}, see {one['signature']}")


def verify(
    paths: Files,
    key: Annotated[Path, typer.Option(metavar="FILE", help="Ed25519 public key, PEM.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Check the signatures beside policies against a public key."""
    from safegen.errors import PolicySignatureError
    from safegen.policy.signature import load_signed_policy_file, public_key

    loaded = public_key(_read(key), where=str(key))
    problems: dict[str, str] = {}
    for path in paths:
        try:
            load_signed_policy_file(path, loaded)
        except PolicySignatureError as error:
            problems[str(path)] = str(error)
    if as_json:
        results = [
            {"path": str(path), "ok": str(path) not in problems, "error": problems.get(str(path))} for path in paths
        ]
        typer.echo(json.dumps(results, indent=2))
    else:
        for path in paths:
            typer.echo(f"{path}: {problems.get(str(path), 'the signature is true')}")
    if problems:
        raise typer.Exit(_NOT_SO)


def _read(path: Path) -> bytes:
    from safegen.errors import PolicyError

    try:
        return path.read_bytes()
    except OSError as error:
        raise PolicyError(f"cannot read: {error.strerror}", where=str(path)) from error


def _replace(path: Path, text: str) -> None:
    """Write a file so that a reader sees the old one or the new one."""
    from safegen.errors import PolicyError

    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise PolicyError(f"cannot write: {error.strerror}", where=str(path)) from error


def _create_key(path: Path) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(secret)
    path.with_name(path.name + ".pub").write_bytes(public)
