"""Opens a base model from a folder of diffusers' format."""

from __future__ import annotations

import json
from pathlib import Path

from safegen.errors import ModelError
from safegen.models.base import BaseModel


def load_base(folder: Path, *, digest: str) -> BaseModel:
    """Load the base model in `folder`; its digest was checked by whoever resolved the folder.

    Raises:
        ModelError: no model there, or one of a family that safegen does not know.
    """
    index = folder / "model_index.json"
    try:
        kind = json.loads(index.read_text(encoding="utf-8")).get("_class_name")
    except FileNotFoundError as error:
        raise ModelError("no diffusers model in this folder", where=str(folder)) from error
    except ValueError as error:
        raise ModelError(f"model_index.json is not readable: {error}", where=str(index)) from error
    if kind != "StableDiffusionPipeline":
        raise ModelError(
            f"safegen cannot drive a {kind!r}", where=str(index), hint="supported here: StableDiffusionPipeline"
        )
    from safegen.models.stable_diffusion import StableDiffusion

    return StableDiffusion.load(folder, digest=digest)
