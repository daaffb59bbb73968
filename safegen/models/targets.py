"""The modules that SPMs act on, found by type in every family of denoisers.

A UNet: every Linear and Conv2d inside its text-conditioned transformers, as in arXiv 2312.16145. An MMDiT: every Linear
of its blocks but those that modulate (adaptive norms), which read the time step and the pooled text and no token; see
docs/decisions/0010. Invariant: paths are the denoiser's own, in its order.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

Targets = dict[str, nn.Linear | nn.Conv2d]


def unet_targets(unet: nn.Module) -> Targets:
    """Linear and Conv2d modules inside Transformer2DModel blocks, by path.

    For Stable Diffusion 1.4 these are the 192 modules of arXiv 2312.16145.
    """
    from diffusers.models.transformers.transformer_2d import Transformer2DModel

    return dict(_within(unet, (Transformer2DModel,), ()))


def mmdit_targets(transformer: nn.Module) -> Targets:
    """Linear modules of attention and feed-forward in the blocks of Stable Diffusion 3 and FLUX, by path."""
    from diffusers.models.attention import JointTransformerBlock
    from diffusers.models.normalization import (
        AdaLayerNormContinuous,
        AdaLayerNormZero,
        AdaLayerNormZeroSingle,
        SD35AdaLayerNormZeroX,
    )
    from diffusers.models.transformers.transformer_flux import FluxSingleTransformerBlock, FluxTransformerBlock

    blocks = (JointTransformerBlock, FluxTransformerBlock, FluxSingleTransformerBlock)
    modulations = (AdaLayerNormContinuous, AdaLayerNormZero, AdaLayerNormZeroSingle, SD35AdaLayerNormZeroX)
    return dict(_within(transformer, blocks, modulations))


def _within(
    model: nn.Module, blocks: tuple[type[nn.Module], ...], apart: tuple[type[nn.Module], ...]
) -> Iterator[tuple[str, nn.Linear | nn.Conv2d]]:
    for path, block in model.named_modules():
        if not isinstance(block, blocks):
            continue
        left_out = {id(part) for module in block.modules() if isinstance(module, apart) for part in module.modules()}
        for inner, module in block.named_modules():
            if isinstance(module, nn.Linear | nn.Conv2d) and id(module) not in left_out:
                yield f"{path}.{inner}", module
