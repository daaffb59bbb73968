"""Files of SD3 and FLUX under the names of the original code, as sd-scripts writes them, cut into diffusers' layers.

The original code keeps q, k and v as one matrix, and in FLUX's single blocks the feed-forward's first as well; a model
of diffusers has a module for each. The rows of `up` are cut, and each part takes all of `down` and the same alpha, so
that scale * up @ down is, row by row, what it was. Invariants: nothing is computed; what no module stands for is
refused by name.

Sources: `networks/lora_flux.py` and `networks/lora_sd3.py` of sd-scripts; diffusers' `lora_conversion_utils.py` and
`single_file_utils.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import torch

from safegen.errors import AdapterKeyError, AdapterShapeError
from safegen.spm.layers import DOWN, PARTS, UP, layer_name

_QKV = ("attn.to_q", "attn.to_k", "attn.to_v")
_ADDED_QKV = ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj")
_FUSED_QKV = len(_QKV)

_BLOCKS: Mapping[str, tuple[str, Mapping[str, Sequence[str]]]] = {
    "double": (
        "transformer_blocks",
        {
            "img_attn_qkv": _QKV,
            "img_attn_proj": ["attn.to_out.0"],
            "img_mlp_0": ["ff.net.0.proj"],
            "img_mlp_2": ["ff.net.2"],
            "txt_attn_qkv": _ADDED_QKV,
            "txt_attn_proj": ["attn.to_add_out"],
            "txt_mlp_0": ["ff_context.net.0.proj"],
            "txt_mlp_2": ["ff_context.net.2"],
        },
    ),
    "single": ("single_transformer_blocks", {"linear1": (*_QKV, "proj_mlp"), "linear2": ["proj_out"]}),
    "joint": (
        "transformer_blocks",
        {
            "x_block_attn_qkv": _QKV,
            "x_block_attn_proj": ["attn.to_out.0"],
            "x_block_attn2_qkv": ["attn2.to_q", "attn2.to_k", "attn2.to_v"],
            "x_block_attn2_proj": ["attn2.to_out.0"],
            "x_block_mlp_fc1": ["ff.net.0.proj"],
            "x_block_mlp_fc2": ["ff.net.2"],
            "context_block_attn_qkv": _ADDED_QKV,
            "context_block_attn_proj": ["attn.to_add_out"],
            "context_block_mlp_fc1": ["ff_context.net.0.proj"],
            "context_block_mlp_fc2": ["ff_context.net.2"],
        },
    ),
}
"""Kind of the original code's blocks to the kind of diffusers', and its layers to the modules that they are there."""

_KEY = re.compile(
    r"(?P<whole>lora_unet_(?P<kind>double|single|joint)_blocks_(?P<number>\d+)_(?P<layer>\w+))\.(?P<part>.+)"
)
_MODULATION = re.compile(r"((img|txt)_mod|modulation)_lin|(x|context)_block_adaLN_modulation_1")
_OUTSIDE = re.compile(
    r"lora_unet_(img_in|txt_in|(time|vector|guidance)_in_(in|out)_layer|context_embedder|[ty]_embedder_mlp_[02]"
    r"|x_embedder_proj|final_layer_(linear|adaLN_modulation_1))\."
)


def cut(key: str, tensors: Mapping[str, torch.Tensor], where: str) -> Mapping[str, torch.Tensor] | None:
    """What a tensor is under an SPM file's names; None if its name is none of the original code's.

    A tensor of half a layer stays as it is, for the reader to name it.

    Args:
        key: the tensor's name in the file.
        tensors: all of the file.
        where: the file, for messages.

    Raises:
        AdapterKeyError: it belongs to a layer that SPMs do not act on, or that neither family has.
        AdapterShapeError: its rows are not those of the matrices that the layer is made of.
    """
    if _OUTSIDE.match(key):
        raise _refused(key, "lies outside of the transformer's blocks", "without in_dims and emb_dims", where)
    match = _KEY.fullmatch(key)
    if match is None:
        return None
    layer, part = match["whole"], match["part"]
    if part not in PARTS or not {f"{layer}.{DOWN}", f"{layer}.{UP}"} <= tensors.keys():
        return {key: tensors[key]}
    names = [f"{name}.{part}" for name in _layers(match, where)]
    if part != UP or len(names) == 1:
        return dict.fromkeys(names, tensors[key])
    rows = _rows(layer, len(names), tensors, where)
    return dict(zip(names, torch.split(tensors[key], rows), strict=True))


def _layers(match: re.Match[str], where: str) -> list[str]:
    """The names of the layers that one of the original code's is made of, in the order of its rows."""
    if _MODULATION.fullmatch(match["layer"]):
        zeros = "with img_mod_dim=0 txt_mod_dim=0 single_mod_dim=0"
        if match["kind"] == "joint":
            zeros = "with x_mod_dim=0 context_mod_dim=0"
        raise _refused(match[0], "is a modulation, which reads the time step and no token", zeros, where)
    blocks, layers = _BLOCKS[match["kind"]]
    if match["layer"] not in layers:
        raise AdapterKeyError(
            f"{match[0]!r} is of a layer that neither FLUX nor SD3 has",
            where=where,
            hint="the file is for another model, or damaged; use one that was trained on FLUX.1 or SD3",
        )
    return [layer_name(f"{blocks}.{match['number']}.{path}") for path in layers[match["layer"]]]


def _rows(layer: str, parts: int, tensors: Mapping[str, torch.Tensor], where: str) -> list[int]:
    """How many rows each part has: q, k and v as many as the layer has inputs, the feed-forward the rest."""
    down, up = tensors[f"{layer}.{DOWN}"], tensors[f"{layer}.{UP}"]
    width, height = down.shape[1:].numel(), up.shape[:1].numel()
    rest = height - _FUSED_QKV * width
    if not width or (rest <= 0 if parts > _FUSED_QKV else rest):
        wanted = f"{'more than ' if parts > _FUSED_QKV else ''}{_FUSED_QKV * width}"
        raise AdapterShapeError(
            f"{layer}.{UP} has {height} rows; q, k and v of a layer with {width} inputs have {wanted}",
            where=where,
            hint="the file is for another model, or damaged; use one that was trained on FLUX.1 or SD3",
        )
    return [width] * _FUSED_QKV + [rest] * (parts - _FUSED_QKV)


def _refused(key: str, why: str, how: str, where: str) -> AdapterKeyError:
    return AdapterKeyError(
        f"{key!r} {why}; SPMs act on attention and feed-forward alone",
        where=where,
        hint=f"train it {how} in sd-scripts' network_args; without that part the adapter would be another",
    )
