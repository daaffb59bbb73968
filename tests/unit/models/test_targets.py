"""Where SPMs attach, in the real configurations of every family."""

from __future__ import annotations

import pytest
import torch
from diffusers import FluxTransformer2DModel, SD3Transformer2DModel, UNet2DConditionModel
from torch import nn

from safegen.models.targets import mmdit_targets, unet_targets
from safegen.spm import MembraneSet
from safegen.spm.family import family_of
from safegen.spm.layers import layer_name
from tests.families import BUILDERS, family_model


def sd1() -> dict[str, nn.Linear | nn.Conv2d]:
    return unet_targets(UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8))


def sd2() -> dict[str, nn.Linear | nn.Conv2d]:
    return unet_targets(
        UNet2DConditionModel(
            sample_size=96, cross_attention_dim=1024, attention_head_dim=[5, 10, 20, 20], use_linear_projection=True
        )
    )


def sdxl() -> dict[str, nn.Linear | nn.Conv2d]:
    return unet_targets(
        UNet2DConditionModel(
            sample_size=128,
            cross_attention_dim=2048,
            attention_head_dim=[5, 10, 20],
            block_out_channels=(320, 640, 1280),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            transformer_layers_per_block=[1, 2, 10],
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=256,
            projection_class_embeddings_input_dim=2816,
        )
    )


def sd3() -> dict[str, nn.Linear | nn.Conv2d]:
    return mmdit_targets(
        SD3Transformer2DModel(
            sample_size=128,
            num_layers=24,
            attention_head_dim=64,
            num_attention_heads=24,
            joint_attention_dim=4096,
            caption_projection_dim=1536,
            pooled_projection_dim=2048,
            pos_embed_max_size=192,
        )
    )


def flux() -> dict[str, nn.Linear | nn.Conv2d]:
    return mmdit_targets(FluxTransformer2DModel(guidance_embeds=True))


REAL = [
    (sd1, "sd1", 192, 423_936),
    (sd2, "sd2", 192, 432_128),
    (sdxl, "sdxl", 722, 2_659_840),
    (sd3, "sd3", 285, 1_308_672),
    (flux, "flux", 418, 4_085_760),
]


@pytest.mark.parametrize(("build", "family", "modules", "parameters"), REAL, ids=[row[1] for row in REAL])
def test_real_configurations_have_the_stated_modules_and_parameters(
    build: object, family: str, modules: int, parameters: int
) -> None:
    """At rank 1: SD 1.4 as arXiv 2312.16145 states, and as docs/decisions/0010 counts for the others."""
    with torch.device("meta"):
        targets = build()  # type: ignore[operator]
        membranes = MembraneSet(targets, rank=1)
    assert len(targets) == modules
    assert sum(parameter.numel() for parameter in membranes.parameters()) == parameters
    assert family_of({layer_name(path): module.weight.shape for path, module in targets.items()}) == family


@pytest.mark.parametrize("family", BUILDERS)
def test_layer_names_are_unambiguous_and_tell_the_family(family: str) -> None:
    """No two targets share a layer name, and the names and shapes of a small model tell its family too."""
    targets = family_model(family).targets()
    shapes = {layer_name(path): module.weight.shape for path, module in targets.items()}
    assert len(shapes) == len(targets)
    assert family_of(shapes) == family_model(family).family == family


def test_what_modulates_is_no_target() -> None:
    """Adaptive norms, embeddings and output layers of transformers are left alone."""
    for family in ("sd3", "flux"):
        model = family_model(family)
        assert all("norm" not in path and "blocks." in path for path in model.targets())
        linear = [path for path, module in model.denoiser.named_modules() if isinstance(module, nn.Linear)]
        assert any("norm" in path for path in linear)
