"""SPM files and the formats of other programs: out and in again without a changed bit."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import nn

from safegen import errors
from safegen.models.layouts import published_targets
from safegen.spm import read_spm
from safegen.spm.exchange import export_spm, read_foreign, write_import
from safegen.spm.formats import to_spm
from safegen.spm.layers import layer_name
from safegen.spm.tensor_reading import TensorFile, read_tensors
from safegen.spm.tensor_writing import write_tensors

Targets = dict[str, nn.Linear | nn.Conv2d]
DTYPES = [torch.float32, torch.float16, torch.bfloat16]


def targets() -> Targets:
    """Names that collide when only dots are guessed: to_out.0, net.0.proj, ff_context, add_k_proj."""
    paths = {
        "mid_block.attentions.0.proj_in": nn.Conv2d(6, 4, 1),
        "mid_block.attentions.0.transformer_blocks.0.attn1.to_out.0": nn.Linear(4, 4),
        "mid_block.attentions.0.transformer_blocks.0.attn2.to_k": nn.Linear(5, 4),
        "mid_block.attentions.0.transformer_blocks.0.ff.net.0.proj": nn.Linear(4, 8),
        "up_blocks.1.attentions.2.conv_3": nn.Conv2d(4, 4, 3, padding=1),
    }
    return dict(paths)


def tensors(chosen: list[tuple[str, int, float]], dtype: torch.dtype, alpha_dtype: torch.dtype) -> dict[str, Any]:
    found: dict[str, torch.Tensor] = {}
    for path, rank, alpha in chosen:
        weight, layer = targets()[path].weight, layer_name(path)
        tail = (1,) * (weight.ndim - 2)
        found[f"{layer}.lora_down.weight"] = torch.randn(rank, *weight.shape[1:]).to(dtype)
        found[f"{layer}.lora_up.weight"] = torch.randn(weight.shape[0], rank, *tail).to(dtype)
        found[f"{layer}.alpha"] = torch.tensor(alpha, dtype=alpha_dtype)
    return found


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(
        one[key].dtype == other[key].dtype
        and one[key].shape == other[key].shape
        and torch.equal(one[key].view(torch.uint8), other[key].view(torch.uint8))
        if one[key].ndim
        else one[key].dtype == other[key].dtype and torch.equal(one[key], other[key])
        for key in one
    )


@settings(max_examples=40)
@given(
    chosen=st.lists(
        st.tuples(st.sampled_from(sorted(targets())), st.integers(1, 5), st.floats(0.125, 16, width=16)),
        min_size=1,
        unique_by=lambda each: each[0],
    ),
    dtype=st.sampled_from(DTYPES),
    alpha_dtype=st.sampled_from(DTYPES),
    form=st.sampled_from(["kohya", "diffusers"]),
)
def test_export_and_import_give_back_the_very_tensors(
    tmp_path_factory: pytest.TempPathFactory,
    chosen: list[tuple[str, int, float]],
    dtype: torch.dtype,
    alpha_dtype: torch.dtype,
    form: Any,
) -> None:
    """For any layers, ranks, alphas and types, import after export is the identity on tensors and on metadata."""
    folder = tmp_path_factory.mktemp("exchange")
    own = tensors(chosen, dtype, alpha_dtype)
    write_tensors(folder / "own", own, {"prompts": "cat", "note": "é"})
    export_spm(folder / "own", folder / "out", form=form, targets=targets())
    foreign = read_foreign(folder / "out")
    assert not foreign.assumed
    write_import(foreign, folder / "in", family="sd1")
    again = read_tensors(folder / "in")
    assert same(own, dict(again.tensors))
    assert {"prompts": "cat", "note": "é", "family": "sd1", "concept": "cat"}.items() <= again.metadata.items()
    before, after = read_spm(folder / "own").resolve(targets()), read_spm(folder / "in").resolve(targets())
    assert [(each.name, each.scale) for each in before] == [(each.name, each.scale) for each in after]


def test_what_is_written_is_a_file_of_the_safetensors_package(tmp_path: Path) -> None:
    """The official reader finds the same tensors, and its own files read the same here."""
    own = tensors([("mid_block.attentions.0.proj_in", 2, 1.0)], torch.float16, torch.float32)
    write_tensors(tmp_path / "own", own, {"prompts": "cat"})
    assert same(own, load_file(tmp_path / "own"))
    save_file(own, tmp_path / "theirs", metadata={"prompts": "cat"})
    assert same(own, dict(read_tensors(tmp_path / "theirs").tensors))


def test_published_files_of_the_method_are_read_as_they_are(tmp_path: Path) -> None:
    """All 192 layers under kohya's names with the authors' metadata: imported, fitted to SD 1.4, tensors untouched."""
    own = {}
    for path, module in published_targets("sd1").items():
        tail = (1,) * (module.weight.ndim - 2)
        own[f"{layer_name(path)}.lora_down.weight"] = torch.randn(1, *module.weight.shape[1:])
        own[f"{layer_name(path)}.lora_up.weight"] = torch.randn(module.weight.shape[0], 1, *tail)
        own[f"{layer_name(path)}.alpha"] = torch.tensor(1.0)
    save_file(own, tmp_path / "snoopy", metadata={"prompts": "Snoopy", "rank": "1", "alpha": "1.0"})
    foreign = read_foreign(tmp_path / "snoopy")
    assert foreign.spm.family == "sd1"
    assert len(foreign.spm.resolve(published_targets("sd1"))) == 192
    assert foreign.spm.parameters == 423_936
    write_import(foreign, tmp_path / "in", family="sd1")
    assert same(own, load_file(tmp_path / "in"))
    stated = read_spm(tmp_path / "in").metadata
    assert (stated["concept"], stated["rank"], stated["alpha"], stated["family"]) == ("Snoopy", "1", "1.0", "sd1")
    assert stated["source_digest"] == foreign.content.digest


@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl"])
def test_names_of_the_original_code_are_those_of_diffusers(family: str) -> None:
    """Every layer under the block numbers of the original code comes back as the layer of diffusers' model."""
    layers = {layer_name(path) for path in published_targets(family)}
    content = {f"{original(layer)}.alpha": torch.ones(()) for layer in layers}
    assert len(content) == len(layers)
    renamed, _ = to_spm(TensorFile(content, {}, ""), "")
    assert {key.removesuffix(".alpha") for key in renamed} == layers


def original(layer: str) -> str:
    """The layer's name by the block numbers of the original code, two layers a block."""
    if layer.startswith("lora_unet_mid_block_attentions_0_"):
        return layer.replace("mid_block_attentions_0", "middle_block_1", 1)
    side, block, number, rest = re.fullmatch(r"lora_unet_(\w+?)_blocks_(\d)_attentions_(\d)_(\w+)", layer).groups()
    at = 3 * int(block) + int(number)
    return f"lora_unet_input_blocks_{at + 1}_1_{rest}" if side == "down" else f"lora_unet_output_blocks_{at}_1_{rest}"


@pytest.mark.parametrize(
    "names",
    [
        ("unet.{0}.lora_A.weight", "unet.{0}.lora_B.weight"),
        ("unet.{0}.lora.down.weight", "unet.{0}.lora.up.weight"),
        ("base_model.model.{0}.lora_A.weight", "base_model.model.{0}.lora_B.weight"),
    ],
)
def test_diffusers_names_are_read(names: tuple[str, str], tmp_path: Path) -> None:
    """PEFT's names, those of earlier releases, and those of PEFT itself."""
    path = "mid_block.attentions.0.transformer_blocks.0.attn1.to_out.0"
    own = {names[0].format(path): torch.ones(2, 4), names[1].format(path): torch.ones(4, 2)}
    save_file(own, tmp_path / "lora")
    foreign = read_foreign(tmp_path / "lora")
    assert list(foreign.spm.layers) == [layer_name(path)]
    assert foreign.assumed


def test_processor_names_are_read(tmp_path: Path) -> None:
    """The first releases of diffusers kept LoRA inside attention processors."""
    block = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.processor"
    own = {
        f"{block}.{layer}_lora.{part}.weight": torch.ones(*shape)
        for layer in ("to_q", "to_out")
        for part, shape in (("down", (1, 4)), ("up", (4, 1)))
    }
    save_file(own, tmp_path / "lora")
    prefix = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1"
    assert set(read_foreign(tmp_path / "lora").spm.layers) == {f"{prefix}_to_q", f"{prefix}_to_out_0"}


HALVES = {"lora_unet_x.lora_down.weight": torch.ones(4, 3), "lora_unet_x.lora_up.weight": torch.ones(3, 4)}


@pytest.mark.parametrize(
    ("metadata", "alpha", "assumed"),
    [
        ({}, 4.0, True),
        ({"alpha": "2"}, 2.0, False),
        ({"ss_network_alpha": "0.5"}, 0.5, False),
        ({"ss_network_alpha": "None"}, 4.0, True),
        ({"lora_adapter_metadata": '{"unet.lora_alpha": 8}'}, 8.0, False),
        ({"lora_adapter_metadata": '{"unet.lora_alpha": 8, "unet.use_rslora": true}'}, 16.0, False),
    ],
)
def test_a_missing_alpha_is_what_the_metadata_says_or_the_rank(
    metadata: dict[str, str], alpha: float, assumed: bool, tmp_path: Path
) -> None:
    """Where no layer has an alpha, the metadata decides, and else alpha = rank, which is said."""
    save_file(HALVES, tmp_path / "lora", metadata=metadata)
    foreign = read_foreign(tmp_path / "lora")
    assert (foreign.spm.layers["lora_unet_x"][2], foreign.assumed) == (alpha, assumed)


@pytest.mark.parametrize(
    ("content", "metadata", "error", "message"),
    [
        (HALVES, {"alpha": "much"}, errors.AdapterAlphaError, "no usable alpha for the layers"),
        (HALVES, {"lora_adapter_metadata": "{"}, errors.AdapterAlphaError, "no JSON object"),
        (HALVES, {"lora_adapter_metadata": '{"alpha_pattern": 3}'}, errors.AdapterAlphaError, "no usable alpha"),
        (HALVES, {"alpha": "NaN"}, errors.AdapterAlphaError, "lora_unet_x.alpha is nan"),
        (HALVES, {"lora_adapter_metadata": '{"unet.lora_alpha": -1}'}, errors.AdapterAlphaError, "alpha is -1"),
        (HALVES, {"alpha_tensors": '{"": ["I8", []]}'}, errors.AdapterAlphaError, "no usable alpha"),
        ({"lora_unet_double_blocks_0_x.alpha": torch.ones(())}, {}, errors.AdapterHalfError, "lacks lora_unet_double"),
        ({"model.diffusion.weight": torch.ones(1)}, {}, errors.AdapterKeyError, "is not a layer of an SPM"),
        ({"lora_te1_x.alpha": torch.ones(())}, {}, errors.AdapterKeyError, "text encoder"),
        ({"text_encoder.x.lora_A.weight": torch.ones(1, 1)}, {}, errors.AdapterKeyError, "not a layer"),
        (
            {"unet.a.b.alpha": torch.ones(()), "unet.a_b.alpha": torch.ones(())},
            {},
            errors.AdapterDuplicateError,
            "under two names",
        ),
    ],
)
def test_what_cannot_be_imported_is_named(
    content: dict[str, torch.Tensor],
    metadata: dict[str, str],
    error: type[errors.AdapterError],
    message: str,
    tmp_path: Path,
) -> None:
    """Each fault is an error of its own with the file's name and a remedy."""
    save_file(content, tmp_path / "lora", metadata=metadata)
    with pytest.raises(error, match=message) as caught:
        read_foreign(tmp_path / "lora")
    assert caught.value.where == str(tmp_path / "lora")
    assert caught.value.hint


def test_kohyas_metadata_is_stated(tmp_path: Path) -> None:
    """Programs that show rank and alpha find them under kohya's keys; what was stated stays."""
    own = tensors([("mid_block.attentions.0.proj_in", 2, 1.0)], torch.float32, torch.float32)
    write_tensors(tmp_path / "own", own, {"prompts": "cat", "ss_network_dim": "77"})
    export_spm(tmp_path / "own", tmp_path / "out", form="kohya")
    stated = read_tensors(tmp_path / "out").metadata
    assert stated == {
        "prompts": "cat",
        "ss_network_dim": "77",
        "ss_network_alpha": "1",
        "ss_network_module": "networks.lora",
        "ss_base_model_version": "sd_v1",
    }
    with pytest.raises(ValueError, match="needs the targets"):
        export_spm(tmp_path / "own", tmp_path / "out", form="diffusers")
