"""Opens a base model from a folder of diffusers' format."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import cast

from safegen.errors import ModelError
from safegen.models.base import BaseModel

_KNOWN = {
    "StableDiffusionPipeline": ("stable_diffusion", "StableDiffusion"),
    "StableDiffusionXLPipeline": ("stable_diffusion_xl", "StableDiffusionXL"),
    "StableDiffusion3Pipeline": ("mmdit", "StableDiffusion3"),
    "FluxPipeline": ("mmdit", "Flux"),
}
"""What `model_index.json` calls a pipeline, and the module and class here that drive it."""


def load_base(folder: Path, *, digest: str, device: str = "cpu") -> BaseModel:
    """Load the base model in `folder`; its digest was checked by whoever resolved the folder.

    Args:
        folder: of diffusers' format.
        digest: of the folder's files.
        device: where the weights go and the denoiser runs, as torch names it: `cpu`, `cuda`, `cuda:1`, `mps`.

    Raises:
        ModelError: no model there, one of a family that safegen does not know, or no such device here.
    """
    index = folder / "model_index.json"
    try:
        kind = json.loads(index.read_text(encoding="utf-8")).get("_class_name")
    except FileNotFoundError as error:
        raise ModelError("no diffusers model in this folder", where=str(folder)) from error
    except (ValueError, AttributeError) as error:
        raise ModelError(f"model_index.json is not readable: {error}", where=str(index)) from error
    if not isinstance(kind, str) or kind not in _KNOWN:
        raise ModelError(
            f"safegen cannot drive a {kind!r}", where=str(index), hint=f"supported here: {', '.join(_KNOWN)}"
        )
    module, name = _KNOWN[kind]
    family = getattr(import_module(f"safegen.models.{module}"), name)
    return cast("BaseModel", family.load(folder, digest=digest, device=device))
