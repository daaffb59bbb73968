"""LoRA files of FLUX and SD3 as sd-scripts writes them, with random weights."""

from __future__ import annotations

import torch

DOUBLE = {"attn_qkv": (1, 3), "attn_proj": (1, 1), "mlp_0": (1, 4), "mlp_2": (4, 1)}
JOINT = {"attn_qkv": (1, 3), "attn_proj": (1, 1), "mlp_fc1": (1, 4), "mlp_fc2": (4, 1)}
"""Layers of one side of a block, with their inputs and outputs in widths."""


def flux_layers(width: int, double: int, single: int) -> dict[str, tuple[int, int]]:
    """Every layer of FLUX that sd-scripts trains and an SPM acts on, with its numbers of inputs and outputs."""
    layers = {
        f"lora_unet_double_blocks_{number}_{side}_{layer}": sizes
        for number in range(double)
        for side in ("img", "txt")
        for layer, sizes in DOUBLE.items()
    }
    for number in range(single):
        layers |= {f"lora_unet_single_blocks_{number}_linear{half}": [(1, 7), (5, 1)][half - 1] for half in (1, 2)}
    return {layer: (width * inputs, width * outputs) for layer, (inputs, outputs) in layers.items()}


def sd3_layers(width: int, joint: int, *, dual: int = 0) -> dict[str, tuple[int, int]]:
    """The same of SD3: the text's side of the last block ends early, `dual` blocks have a second attention."""
    layers = {
        f"lora_unet_joint_blocks_{number}_{side}_{layer}": sizes
        for number in range(joint)
        for side in ("x_block", "context_block")
        for layer, sizes in JOINT.items()
        if side == "x_block" or number < joint - 1 or layer == "attn_qkv"
    }
    for number in range(dual):
        layers[f"lora_unet_joint_blocks_{number}_x_block_attn2_qkv"] = (1, 3)
        layers[f"lora_unet_joint_blocks_{number}_x_block_attn2_proj"] = (1, 1)
    return {layer: (width * inputs, width * outputs) for layer, (inputs, outputs) in layers.items()}


def lora(
    layers: dict[str, tuple[int, int]], rank: int = 2, dtype: torch.dtype = torch.float32
) -> dict[str, torch.Tensor]:
    """Random tensors of every layer, with alphas that differ."""
    torch.manual_seed(4)
    found: dict[str, torch.Tensor] = {}
    for number, (layer, (inputs, outputs)) in enumerate(layers.items()):
        found[f"{layer}.lora_down.weight"] = (torch.randn(rank, inputs) / 4).to(dtype)
        found[f"{layer}.lora_up.weight"] = (torch.randn(outputs, rank) / 4).to(dtype)
        found[f"{layer}.alpha"] = torch.tensor((0.5, 1.0, 1.5)[number % 3], dtype=dtype)
    return found
