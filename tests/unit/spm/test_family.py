"""Families told from shapes, and SPMs refused by models of another family."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from safegen.errors import AdapterFamilyError, AdapterLayerError, AdapterShapeError
from safegen.spm import SpmFile
from safegen.spm.family import family_of
from safegen.spm.layers import layer_name

BLOCK = "down_blocks.1.attentions.0.transformer_blocks.0"


def unet(text_width: int) -> dict[str, nn.Linear | nn.Conv2d]:
    with torch.device("meta"):
        return {f"{BLOCK}.attn1.to_q": nn.Linear(320, 320), f"{BLOCK}.attn2.to_k": nn.Linear(text_width, 320)}


def spm(targets: dict[str, nn.Linear | nn.Conv2d], **metadata: str) -> SpmFile:
    layers = {
        layer_name(path): (torch.ones(1, *module.weight.shape[1:]), torch.ones(module.weight.shape[0], 1), 1.0)
        for path, module in targets.items()
    }
    return SpmFile(layers=layers, metadata=metadata, digest="sha256:0")


@pytest.mark.parametrize(
    ("shapes", "family"),
    [
        ({"lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k": (1280, 768)}, "sd1"),
        ({"lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k": (1280, 1024)}, "sd2"),
        ({"lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k": (1280, 2048)}, "sdxl"),
        ({"lora_unet_mid_block_attentions_0_transformer_blocks_9_attn1_to_q": (96, 96)}, "sdxl"),
        ({"lora_unet_mid_block_attentions_0_proj_in": (96, 96, 1, 1)}, "sd1"),
        ({"lora_unet_mid_block_attentions_0_proj_in": (96, 96)}, "sd2"),
        ({"lora_transformer_transformer_blocks_0_attn_to_q": (1536, 1536)}, "sd3"),
        ({"lora_transformer_transformer_blocks_0_attn_to_q": (3072, 3072)}, "flux"),
        ({"lora_transformer_single_transformer_blocks_0_attn_to_q": (32, 32)}, "flux"),
        ({"lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q": (1280, 1280)}, ""),
    ],
)
def test_names_and_shapes_tell_the_family(shapes: dict[str, tuple[int, ...]], family: str) -> None:
    """Text width, depth, kind of projection and kind of block tell families apart; else there is no answer."""
    assert family_of(shapes) == family


@pytest.mark.parametrize("metadata", [{}, {"family": "sdxl"}, {"family": "sd1"}, {"family": "nonsense"}])
def test_another_family_is_refused_whatever_the_metadata_says(metadata: dict[str, str]) -> None:
    """The error names both families, also when the metadata lies or is absent."""
    with pytest.raises(AdapterFamilyError, match=r"for Stable Diffusion 1\.x \(sd1\).*this model is .*\(sdxl\)"):
        spm(unet(768), **metadata).resolve(unet(2048))


def test_a_lie_in_the_metadata_is_named() -> None:
    """What the metadata claims and the shapes contradict is part of the message."""
    with pytest.raises(AdapterFamilyError, match="though its metadata says 'sdxl'"):
        spm(unet(768), family="sdxl").resolve(unet(2048))


def test_metadata_decides_where_shapes_do_not() -> None:
    """A file of self-attention layers alone, which fit 1.x and 2.x, is refused if its metadata states the other."""
    part = dict(list(unet(768).items())[:1])
    assert len(spm(part).resolve(unet(1024))) == 1
    with pytest.raises(AdapterFamilyError, match="sd1"):
        spm(part, family="sd1").resolve(unet(1024))


def test_a_layer_or_a_shape_that_does_not_fit_is_named() -> None:
    """Within one family, an unknown layer and another width are errors of their own that name the layer."""
    with pytest.raises(AdapterLayerError, match="lora_unet_up_blocks_9_x"):
        spm({**unet(768), "up_blocks.9.x": nn.Linear(2, 2)}).resolve(unet(768), where="a.safetensors")
    other = {**unet(768), f"{BLOCK}.attn1.to_q": nn.Linear(640, 320)}
    with pytest.raises(AdapterShapeError, match=r"a\.safetensors: layer lora_unet_down_blocks_1.*attn1_to_q is"):
        spm(other).resolve(unet(768), where="a.safetensors")


def test_resolving_gives_targets_in_order_with_their_scale() -> None:
    """Layers come in the targets' order; halves fit the target's weight; scale is alpha / r."""
    targets = {"mid_block.b": nn.Conv2d(3, 5, 1), "mid_block.a": nn.Linear(6, 4)}
    layers = {
        "lora_unet_mid_block_a": (torch.randn(2, 6), torch.randn(4, 2), 0.5),
        "lora_unet_mid_block_b": (torch.randn(1, 3), torch.randn(5, 1), 1.0),
    }
    resolved = SpmFile(layers=layers, metadata={}, digest="sha256:0").resolve(targets)
    assert [(each.name, tuple(each.down.shape), tuple(each.up.shape), each.scale) for each in resolved] == [
        ("mid_block.b", (1, 3, 1, 1), (5, 1, 1, 1), 1.0),
        ("mid_block.a", (2, 6), (4, 2), 0.25),
    ]


def test_only_pointwise_layers_fit_in_either_shape() -> None:
    """A linear layer fits a 1x1 convolution and back; one with as many values as a 3x3 convolution has does not."""
    conv, point, linear = nn.Conv2d(2, 4, 3), nn.Conv2d(2, 4, 1), nn.Linear(2, 4)
    for target, down, up in (
        (point, (1, 2), (4, 1)),
        (linear, (1, 2, 1, 1), (4, 1, 1, 1)),
        (conv, (1, 2, 3, 3), (4, 1)),
    ):
        (fitted,) = SpmFile({"lora_unet_a": (torch.ones(down), torch.ones(up), 1.0)}, {}, "").resolve({"a": target})
        assert fitted.down.shape[1:] == target.weight.shape[1:]
        assert fitted.up.ndim == target.weight.ndim
    with pytest.raises(AdapterShapeError, match="lora_unet_a"):
        SpmFile({"lora_unet_a": (torch.ones(1, 18), torch.ones(4, 1), 1.0)}, {}, "").resolve({"a": conv})


def test_an_spm_fits_models_of_different_layouts_in_turn() -> None:
    """What is kept of one model is not taken for another, and is not computed again for one of the same layout."""
    both = unet(768)
    part = dict(list(both.items())[1:])
    file = spm(part)
    first = file.resolve(both)
    assert file.resolve(unet(768)) is first
    assert [layer.name for layer in file.resolve(part)] == [layer.name for layer in first]
    with pytest.raises(AdapterShapeError):
        file.resolve({name: nn.Linear(768, 321) for name in part})
