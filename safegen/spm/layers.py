"""The layers of an SPM file: their names, their parts, and every way in which they can be wrong.

Tensors are named as kohya's scripts name them: `lora_unet_<path with underscores>.lora_down.weight`, `.lora_up.weight`
and `.alpha`. Invariant: a layer that is read has both halves, one rank above 0 and an alpha above 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch

from safegen.errors import (
    AdapterAlphaError,
    AdapterHalfError,
    AdapterIntegrityError,
    AdapterKeyError,
    AdapterRankError,
    AdapterShapeError,
)
from safegen.spm.tensor_reading import TensorFile

Layer = tuple[torch.Tensor, torch.Tensor, float]
"""down (r, ...), up (out, r, ...), alpha."""

DOWN, UP, ALPHA = PARTS = "lora_down.weight", "lora_up.weight", "alpha"
UNET, TRANSFORMER = PREFIXES = "lora_unet_", "lora_transformer_"
_BLOCKS = ("transformer_blocks.", "single_transformer_blocks.")
_DIMENSIONS = (2, 4)  # of a linear layer's weight and of a convolution's
_LONGEST_KEY, _LONGEST_RANK = 120, 9  # characters in a message


def layer_name(path: str) -> str:
    """The file's name of a module path: `mid_block.attentions.0.proj_in` is `lora_unet_mid_block_attentions_0_proj_in`.

    Modules of a transformer instead of a UNet are `lora_transformer_...`, as OneTrainer, ComfyUI and diffusers say.
    """
    prefix = TRANSFORMER if path.startswith(_BLOCKS) else UNET
    return prefix + path.replace(".", "_")


def read_layers(content: TensorFile, where: str) -> dict[str, Layer]:
    """Each layer of an SPM file in kohya's naming, by name.

    Raises:
        AdapterIntegrityError: a stranger, half a layer, no rank, no alpha, or nothing at all; each a kind of its own.
        AdapterShapeError: a layer has a shape that no layer has.
    """
    parts: dict[str, dict[str, torch.Tensor]] = {}
    for key, tensor in content.tensors.items():
        layer, _, part = key.partition(".")
        if part not in PARTS or not layer.startswith(PREFIXES):
            raise _stranger(key, where)
        parts.setdefault(layer, {})[part] = tensor
    if not parts:
        raise AdapterIntegrityError("the file holds no layers", where=where, hint="train or fetch the adapter again")
    alpha = None if any(ALPHA in part for part in parts.values()) else _stated_alpha(content.metadata)
    layers = {layer: _layer(layer, parts[layer], alpha, where) for layer in sorted(parts)}
    _check_stated_rank(content.metadata, layers, where)
    return layers


def _layer(layer: str, parts: Mapping[str, torch.Tensor], alpha: float | None, where: str) -> Layer:
    for part, other in ((DOWN, UP), (UP, DOWN)):
        if part not in parts:
            there = other if other in parts else ALPHA
            raise AdapterHalfError(
                f"layer {layer} lacks {layer}.{part}, it has {layer}.{there} alone",
                where=where,
                hint="fetch or export the adapter again; half a layer cannot act",
            )
    down, up = parts[DOWN], parts[UP]
    layer_like = down.ndim in _DIMENSIONS and up.ndim in _DIMENSIONS and up.shape[2:].numel() == 1
    if not layer_like or not down.shape[1:].numel() or not up.shape[0]:
        raise AdapterShapeError(
            f"layer {layer} is {tuple(up.shape)} x {tuple(down.shape)}: neither linear nor convolution",
            where=where,
            hint="fetch or export the adapter again",
        )
    if down.shape[0] < 1 or down.shape[0] != up.shape[1]:
        raise AdapterRankError(
            f"layer {layer} has rank {down.shape[0]} by its down and {up.shape[1]} by its up",
            where=where,
            hint="both must be the same, 1 or more; train or export the adapter again",
        )
    return down, up, _alpha(layer, parts.get(ALPHA), alpha, where)


def _alpha(layer: str, stored: torch.Tensor | None, stated: float | None, where: str) -> float:
    if stored is not None and stored.numel() != 1:
        raise AdapterAlphaError(
            f"{layer}.alpha has {stored.numel()} values, not one", where=where, hint="export the adapter again"
        )
    alpha = stated if stored is None else float(stored)
    if alpha is None:
        raise AdapterAlphaError(
            f"{layer}.alpha is missing, so its scale alpha / rank is unknown",
            where=where,
            hint="`safegen spm import` reads such files by the convention alpha = rank, and writes it down",
        )
    if not 0 < alpha < math.inf:
        raise AdapterAlphaError(
            f"{layer}.alpha is {alpha:g}: the layer would do nothing, or the opposite",
            where=where,
            hint="alpha must be a number above 0; train or export the adapter again",
        )
    return alpha


def _stated_alpha(metadata: Mapping[str, str]) -> float | None:
    try:
        alpha = float(metadata.get("alpha", ""))
    except ValueError:
        return None
    return alpha if math.isfinite(alpha) else None


def _check_stated_rank(metadata: Mapping[str, str], layers: Mapping[str, Layer], where: str) -> None:
    stated, ranks = metadata.get("rank", ""), {down.shape[0] for down, _, _ in layers.values()}
    if stated.isdecimal() and stated.lstrip("0") not in set(map(str, ranks)):
        raise AdapterRankError(
            f"the metadata says rank {stated[:_LONGEST_RANK]}, the layers have {', '.join(map(str, sorted(ranks)))}",
            where=where,
            hint="one of both was changed; fetch the file again, or import it with the rank that it has",
        )


def _stranger(key: str, where: str) -> AdapterKeyError:
    if key.startswith("lora_te"):
        why, hint = "changes the text encoder; SPMs act on the denoiser alone", "train it without the text encoder"
    elif "." not in key or not key.startswith(PREFIXES):
        why, hint = "is not a layer of an SPM", "`safegen spm import` reads other formats of LoRA files"
    else:
        why, hint = "is no part of a layer", "SPMs have lora_down, lora_up and alpha; LoHa, LoKr and DoRA are none"
    return AdapterKeyError(f"{key[:_LONGEST_KEY]!r} {why}", where=where, hint=hint)
