"""The names under which other programs keep the tensors of a LoRA file, and back to those of an SPM file.

Read: kohya's names (those of the method's authors, and those of the original code of SDXL, SD3 and FLUX), and the names
of diffusers, present and past. Written: kohya's and diffusers'. Invariants: tensors are renamed, or cut by rows, and
their values never altered; names with underscores are ambiguous and become paths only through the names of a model's
modules; an alpha that a format keeps elsewhere comes back in the type it had.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import torch

from safegen.errors import AdapterAlphaError, AdapterDuplicateError
from safegen.spm.fitting import Resolved
from safegen.spm.fused import cut
from safegen.spm.layers import ALPHA, DOWN, TRANSFORMER, UP, layer_name
from safegen.spm.tensor_reading import DTYPES, TensorFile

Number = TypeVar("Number", int, float)

PEFT_METADATA = "lora_adapter_metadata"
"""Where diffusers keeps ranks and alphas: JSON under this key of the metadata."""
ALPHA_METADATA = "alpha_tensors"
"""Where the type and shape of alphas are kept that diffusers' format has no tensors for."""

_DIFFUSERS_PARTS = {
    "lora_A.weight": DOWN, "lora_B.weight": UP, "lora.down.weight": DOWN, "lora.up.weight": UP, "alpha": ALPHA,
}  # fmt: skip
_DIFFUSERS = re.compile(
    rf"(?:(?:unet|transformer|base_model\.model)\.)(?P<path>.+)\.(?P<part>{'|'.join(map(re.escape, _DIFFUSERS_PARTS))})"
)
_PROCESSOR = re.compile(r"unet\.(?P<path>.+)\.processor\.(?P<layer>to_[qkv]|to_out)_lora\.(?P<part>down|up)\.weight")
_ORIGINAL = re.compile(r"lora_unet_(?P<side>input|output)_blocks_(?P<number>\d+)_1_|lora_unet_middle_block_1_")
_LAYERS = 3  # blocks of the original code for each of diffusers': two with attention, one that changes the size


def to_spm(content: TensorFile, where: str) -> tuple[dict[str, torch.Tensor], bool]:
    """The tensors under the names of an SPM file with an alpha for every layer, and whether the alphas are assumed.

    Where no layer has an alpha, it is what the metadata states, or else the rank, by the convention of all programs.

    Raises:
        AdapterKeyError: a layer that SPMs do not act on.
        AdapterShapeError: a matrix that cannot be cut into those that it stands for.
        AdapterDuplicateError: two names of one tensor.
    """
    found: dict[str, torch.Tensor] = {}
    for key, tensor in content.tensors.items():
        renamed = cut(key, content.tensors, where) or {_spm_key(key): tensor}
        if twice := found.keys() & renamed.keys():
            raise AdapterDuplicateError(
                f"{min(twice)!r} is there under two names, one is {key!r}", where=where, hint="remove one of both"
            )
        found |= renamed
    if any(key.endswith(f".{ALPHA}") for key in found):
        return found, False
    alphas, assumed = _alphas(found, content.metadata, where)
    return found | alphas, assumed


def _spm_key(key: str) -> str:
    if match := _ORIGINAL.match(key):
        return _diffusers_block(match) + key[match.end() :]
    if match := _PROCESSOR.fullmatch(key):
        layer = "to_out.0" if match["layer"] == "to_out" else match["layer"]
        return f"{layer_name(match['path'] + '.' + layer)}.{DOWN if match['part'] == 'down' else UP}"
    if match := _DIFFUSERS.fullmatch(key):
        return f"{layer_name(match['path'])}.{_DIFFUSERS_PARTS[match['part']]}"
    return key


def _diffusers_block(match: re.Match[str]) -> str:
    """The start of a layer's name by diffusers' counting of blocks."""
    if match["side"] is None:
        return "lora_unet_mid_block_attentions_0_"
    number = int(match["number"])
    if match["side"] == "input":
        return f"lora_unet_down_blocks_{(number - 1) // _LAYERS}_attentions_{(number - 1) % _LAYERS}_"
    return f"lora_unet_up_blocks_{number // _LAYERS}_attentions_{number % _LAYERS}_"


def _alphas(
    tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str], where: str
) -> tuple[dict[str, torch.Tensor], bool]:
    ranks = {key.removesuffix(f".{DOWN}"): tensor.shape[:1].numel() for key, tensor in tensors.items() if DOWN in key}
    forms = _read_json(metadata, ALPHA_METADATA, where)
    peft = {name.rpartition(".")[2]: value for name, value in _read_json(metadata, PEFT_METADATA, where).items()}
    stated = [peft.get("lora_alpha"), metadata.get("alpha"), metadata.get("ss_network_alpha")]
    usual = next((value for value in stated if value not in (None, "None", "Dynamic")), None)
    found = {}
    try:
        patterns = (peft.get("alpha_pattern") or {}).items()
        own = {layer_name(path.removeprefix("^")): value for path, value in patterns}
        for layer, rank in ranks.items():
            dtype, shape = forms.get(layer) or forms.get("") or ("F32", [])
            value = float(own.get(layer, rank if usual is None else usual))
            if peft.get("use_rslora"):  # its scale is alpha / sqrt(rank)
                value *= math.sqrt(rank)
            found[f"{layer}.{ALPHA}"] = torch.tensor(value, dtype=DTYPES[dtype]).reshape(shape)
    except (AttributeError, TypeError, ValueError, KeyError, RuntimeError, OverflowError) as error:
        raise AdapterAlphaError(
            "the metadata states no usable alpha for the layers", where=where, hint="export the adapter again"
        ) from error
    return found, usual is None


def _read_json(metadata: Mapping[str, str], key: str, where: str) -> dict[str, Any]:
    try:
        content = json.loads(metadata.get(key, "{}"))
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise AdapterAlphaError(
            f"__metadata__.{key}, which states the alphas, is no JSON object",
            where=where,
            hint="export the adapter again",
        )
    return content


def to_kohya_metadata(ranks: Iterable[int], alphas: Iterable[float], family: str) -> dict[str, str]:
    """What kohya's scripts, and the programs that read their files, expect in the metadata."""
    versions = {"sd1": "sd_v1", "sd2": "sd_v2", "sdxl": "sdxl_base_v1-0"}
    stated = {
        "ss_network_module": "networks.lora",
        "ss_network_dim": _one(set(ranks)),
        "ss_network_alpha": _one(set(alphas)),
    }
    return stated | ({"ss_base_model_version": versions[family]} if family in versions else {})


def _one(values: set[Number]) -> str:
    return f"{min(values):g}" if len(values) == 1 else "Dynamic"


def to_diffusers(
    layers: Sequence[Resolved], alphas: Mapping[str, torch.Tensor], metadata: Mapping[str, str]
) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Tensors and metadata as diffusers' `load_lora_weights` reads them.

    Args:
        layers: of an SPM, fitted to the modules of a model.
        alphas: module path to the alpha as the SPM's file has it.
        metadata: of that file.
    """
    model = "transformer" if layer_name(layers[0].name).startswith(TRANSFORMER) else "unet"
    tensors: dict[str, torch.Tensor] = {}
    for layer in layers:
        tensors[f"{model}.{layer.name}.lora_A.weight"] = layer.down
        tensors[f"{model}.{layer.name}.lora_B.weight"] = layer.up
    ranks = {layer.name: layer.down.shape[0] for layer in layers}
    values = {path: float(alpha) for path, alpha in alphas.items()}
    rank, alpha = _most(ranks.values()), _most(values.values())
    peft = {
        "r": rank,
        "lora_alpha": alpha,
        "rank_pattern": {f"^{path}": other for path, other in ranks.items() if other != rank},
        "alpha_pattern": {f"^{path}": other for path, other in values.items() if other != alpha},
        "target_modules": sorted(ranks),
    }
    names = {dtype: name for name, dtype in DTYPES.items()}
    kept = {layer_name(path): [names[tensor.dtype], list(tensor.shape)] for path, tensor in alphas.items()}
    form = next(iter(kept.values()))
    alike = all(other == form for other in kept.values())
    return tensors, {
        **metadata,
        PEFT_METADATA: json.dumps({f"{model}.{name}": value for name, value in peft.items()}),
        ALPHA_METADATA: json.dumps({"": form} if alike else kept),
    }


def _most(values: Iterable[Number]) -> Number:
    """The most frequent value, of several the first."""
    return Counter(values).most_common(1)[0][0]
