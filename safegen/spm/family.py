"""Tells the family of a base model, or of an SPM, from the names and shapes of its layers.

Metadata may be absent or wrong; shapes can not. Invariant: the same evidence gives the same answer for a file and for
the modules of a model, and no evidence gives "".
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

FAMILIES: Mapping[str, str] = {
    "sd1": "Stable Diffusion 1.x",
    "sd2": "Stable Diffusion 2.x",
    "sdxl": "Stable Diffusion XL",
    "sd3": "Stable Diffusion 3",
    "flux": "FLUX.1",
}
"""Id of a family, as indexes and metadata state it, and the name that people know."""

_TEXT_WIDTH = {768: "sd1", 1024: "sd2", 2048: "sdxl"}
"""Width of the text states that a UNet's cross-attention reads: CLIP ViT-L, OpenCLIP ViT-H, and SDXL's two together."""
_FLUX_WIDTH = 3072
_CONVOLUTION = 4  # dimensions of its weight

_MMDIT = re.compile(r"lora_transformer_(?P<single>single_)?transformer_blocks_")
_DEEP = re.compile(r"attentions_\d+_transformer_blocks_[1-9]")


def family_of(shapes: Mapping[str, Sequence[int]]) -> str:
    """The family's id, or "" if nothing tells.

    Args:
        shapes: layer name (`lora_unet_...`) to the shape of the weight that it updates.
    """
    mmdit = [(match["single"], shape) for name, shape in shapes.items() if (match := _MMDIT.match(name))]
    if mmdit:
        return "flux" if any(single or _FLUX_WIDTH in shape for single, shape in mmdit) else "sd3"
    reads = {shape[1] for name, shape in shapes.items() if name.endswith("attn2_to_k")}
    known = {_TEXT_WIDTH[width] for width in reads if width in _TEXT_WIDTH}
    if len(known) == 1:
        return known.pop()
    # A model of unusual width, such as a small one: only SDXL stacks blocks, only 1.x projects by convolution.
    if any(_DEEP.search(name) for name in shapes):
        return "sdxl"
    projections = {len(shape) for name, shape in shapes.items() if name.endswith(("_proj_in", "_proj_out"))}
    if projections:
        return "sd1" if _CONVOLUTION in projections else "sd2"
    return ""


def name_of(family: str) -> str:
    """What people call a family, e.g. `Stable Diffusion XL (sdxl)`."""
    return f"{FAMILIES[family]} ({family})" if family in FAMILIES else repr(family)
