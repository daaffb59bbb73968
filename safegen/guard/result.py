"""What `generate()` returns: images with their evidence, or a refusal, always with a receipt.

Invariants: an image that was withheld is not in the result in any form but its digest; a refusal is a result, not an
exception; whatever is returned is in the ledger already.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from PIL import PngImagePlugin

if TYPE_CHECKING:
    from pathlib import Path

    from PIL.Image import Image

    from safegen.ledger import Receipt
    from safegen.policy import Decision

Outcome = Literal["released", "refused", "withheld"]


@dataclass(frozen=True, slots=True)
class Membrane:
    """One SPM of the bundle: how far it was open in the last attempt."""

    concept: str
    adapter: str
    gamma: float
    escalated: bool


@dataclass(frozen=True, slots=True)
class Seen:
    """What one reviewer said of one image for one rule: a score in 0..1, or why there is none."""

    rule: str
    reviewer: str
    label: str
    score: float | None
    threshold: float
    failure: str | None

    @property
    def found(self) -> bool:
        """Whether the rule's concept was found."""
        return self.score is not None and self.score >= self.threshold


@dataclass(frozen=True, slots=True)
class GeneratedImage:
    """One image of a request.

    Attributes:
        image: the picture, or None if it was withheld.
        png: the PNG file's bytes as handed out, empty if it was withheld.
        unsigned_png_sha256: digest of the file before content credentials were put into it; None if there is no file.
    """

    index: int
    seed: int
    attempt: int
    outcome: Literal["released", "withheld"]
    pixels_sha256: str
    image: Image | None
    png: bytes
    unsigned_png_sha256: str | None
    seen: tuple[Seen, ...]
    because: tuple[str, ...]

    @property
    def png_sha256(self) -> str | None:
        """Digest of the PNG file as handed out, None if there is none."""
        return hashlib.sha256(self.png).hexdigest() if self.png else None


@dataclass(frozen=True, slots=True)
class Generation:
    """The result of one request.

    Attributes:
        outcome: `released` if at least one image is there, else `refused` or `withheld`.
        receipt: proof that the request's last record is in the ledger.
        notes: what the caller should know, e.g. that the prompt was longer than the text encoder reads.
    """

    request_id: str
    outcome: Outcome
    decision: Decision
    membranes: tuple[Membrane, ...]
    images: tuple[GeneratedImage, ...]
    attempts: int
    receipt: Receipt
    seconds: Mapping[str, float]
    notes: tuple[str, ...] = ()

    @property
    def released(self) -> tuple[GeneratedImage, ...]:
        """The images that may be shown."""
        return tuple(image for image in self.images if image.outcome == "released")

    def save(self, folder: Path) -> list[Path]:
        """Write the released images, `result.json` and `receipt.json` into a folder; return the images' paths."""
        import json

        folder.mkdir(parents=True, exist_ok=True)
        paths = []
        for image in self.released:
            path = folder / f"{self.request_id}-{image.index}.png"
            path.write_bytes(image.png)
            paths.append(path)
        (folder / f"{self.request_id}.json").write_text(json.dumps(self.to_json(), indent=2) + "\n", encoding="utf-8")
        (folder / f"{self.request_id}.receipt.json").write_text(self.receipt.to_json() + "\n", encoding="utf-8")
        return paths

    def to_json(self) -> dict[str, Any]:
        """All of it but the pictures, as plain JSON values."""
        return {
            "request_id": self.request_id,
            "outcome": self.outcome,
            "decision": self.decision.model_dump(mode="json"),
            "membranes": [
                {"concept": m.concept, "adapter": m.adapter, "gamma": m.gamma, "escalated": m.escalated}
                for m in self.membranes
            ],
            "images": [_image_json(image, self.request_id) for image in self.images],
            "attempts": self.attempts,
            "receipt": {"index": self.receipt.index, "tree_size": self.receipt.tree_size},
            "seconds": dict(self.seconds),
            "notes": list(self.notes),
        }


def _image_json(image: GeneratedImage, request_id: str) -> dict[str, Any]:
    return {
        "index": image.index,
        "outcome": image.outcome,
        "file": f"{request_id}-{image.index}.png" if image.png else None,
        "seed": image.seed,
        "attempt": image.attempt,
        "png_sha256": image.png_sha256,
        "pixels_sha256": image.pixels_sha256,
        "because": list(image.because),
        "reviews": [
            {
                "rule": seen.rule,
                "reviewer": seen.reviewer,
                "label": seen.label,
                "score": seen.score,
                "threshold": seen.threshold,
                "found": seen.found,
                "failure": seen.failure,
            }
            for seen in image.seen
        ],
    }


def pixels_digest(image: Image) -> str:
    """sha256 (hex) of mode, size and raw pixels."""
    header = f"{image.mode} {image.width}x{image.height}\n".encode()
    return hashlib.sha256(header + image.tobytes()).hexdigest()


def encode_png(image: Image, *, request_id: str) -> bytes:
    """The PNG file of an image, naming the request that it belongs to."""
    about = PngImagePlugin.PngInfo()
    about.add_text("safegen:request_id", request_id)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", pnginfo=about)
    return buffer.getvalue()
