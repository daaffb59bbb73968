"""Where SPMs attach."""

from __future__ import annotations

import torch
from diffusers import UNet2DConditionModel

from safegen.models.stable_diffusion import unet_targets
from safegen.spm import MembraneSet


def test_stable_diffusion_1_4_has_the_papers_modules_and_parameters() -> None:
    """SD 1.4's real configuration gives 192 modules and 423,936 parameters at rank 1 (arXiv 2312.16145)."""
    with torch.device("meta"):
        unet = UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8)
        targets = unet_targets(unet)
        membranes = MembraneSet(targets, rank=1)
    assert len(targets) == 192
    assert sum(parameter.numel() for parameter in membranes.parameters()) == 423_936
