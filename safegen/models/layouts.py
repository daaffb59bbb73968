"""The modules of a denoiser without its weights: from a model's folder, or from a published configuration.

Invariant: everything is built on torch's `meta` device, so that even FLUX costs no memory.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from safegen.errors import ModelError
from safegen.models.targets import Targets, mmdit_targets, unet_targets

PUBLISHED: Mapping[str, tuple[str, str, Mapping[str, Any]]] = {
    "sd1": ("Stable Diffusion 1.4", "unet", {"cross_attention_dim": 768, "attention_head_dim": 8}),
    "sd2": (
        "Stable Diffusion 2.1",
        "unet",
        {"cross_attention_dim": 1024, "attention_head_dim": (5, 10, 20, 20), "use_linear_projection": True},
    ),
    "sdxl": (
        "Stable Diffusion XL 1.0",
        "unet",
        {
            "cross_attention_dim": 2048,
            "attention_head_dim": (5, 10, 20),
            "block_out_channels": (320, 640, 1280),
            "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            "transformer_layers_per_block": (1, 2, 10),
            "use_linear_projection": True,
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 256,
            "projection_class_embeddings_input_dim": 2816,
        },
    ),
    "sd3": (
        "Stable Diffusion 3 Medium",
        "sd3",
        {
            "sample_size": 128,
            "num_layers": 24,
            "attention_head_dim": 64,
            "num_attention_heads": 24,
            "joint_attention_dim": 4096,
            "caption_projection_dim": 1536,
            "pooled_projection_dim": 2048,
            "pos_embed_max_size": 192,
        },
    ),
    "flux": ("FLUX.1", "flux", {"guidance_embeds": True}),
}
"""Family to the name of its published model, the kind of denoiser, and that model's configuration."""


def published_targets(family: str) -> Targets:
    """The targets of a family's published model, without weights.

    Raises:
        ModelError: no such family.
    """
    if family not in PUBLISHED:
        raise ModelError(f"there is no family {family!r}", hint=f"known: {', '.join(PUBLISHED)}")
    _, kind, config = PUBLISHED[family]
    return _targets(kind, config)


def folder_targets(folder: Path) -> Targets:
    """The targets of the model in a folder of diffusers' format, without reading its weights.

    Raises:
        ModelError: there is no denoiser of a known family.
    """
    kinds = {"UNet2DConditionModel": "unet", "SD3Transformer2DModel": "sd3", "FluxTransformer2DModel": "flux"}
    for part in ("unet", "transformer"):
        path = folder / part / "config.json"
        if path.is_file():
            break
    else:
        raise ModelError("no denoiser in this folder", where=str(folder), hint="name a folder with a model_index.json")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        return _targets(kinds[config["_class_name"]], config)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ModelError(
            f"the denoiser's configuration is not one that safegen can drive: {error}", where=str(path)
        ) from error


def _targets(kind: str, config: Mapping[str, Any]) -> Targets:
    from diffusers import FluxTransformer2DModel, SD3Transformer2DModel, UNet2DConditionModel

    known: dict[str, tuple[Any, Callable[[nn.Module], Targets]]] = {
        "unet": (UNet2DConditionModel, unet_targets),
        "sd3": (SD3Transformer2DModel, mmdit_targets),
        "flux": (FluxTransformer2DModel, mmdit_targets),
    }
    model, find = known[kind]
    with torch.device("meta"):
        return find(model.from_config(dict(config)))
