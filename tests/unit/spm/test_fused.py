"""Files of SD3 and FLUX under the original code's names: cut into the modules of diffusers, with the same update."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import FluxPipeline
from diffusers.loaders.single_file_utils import convert_sd3_transformer_checkpoint_to_diffusers
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from safegen import errors
from safegen.models.layouts import published_targets
from safegen.spm.exchange import export_spm, read_foreign, write_import
from safegen.spm.formats import to_spm
from safegen.spm.layers import layer_name
from safegen.spm.tensor_reading import TensorFile
from tests.families import family_model
from tests.sd_scripts import flux_layers, lora, sd3_layers

FUSED = {
    "lora_unet_double_blocks_0_img_attn_qkv": ("transformer_blocks.0.attn", ("to_q", "to_k", "to_v")),
    "lora_unet_double_blocks_3_txt_attn_qkv": (
        "transformer_blocks.3.attn",
        ("add_q_proj", "add_k_proj", "add_v_proj"),
    ),
    "lora_unet_single_blocks_12_linear1": (
        "single_transformer_blocks.12",
        ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"),
    ),
    "lora_unet_joint_blocks_1_x_block_attn_qkv": ("transformer_blocks.1.attn", ("to_q", "to_k", "to_v")),
    "lora_unet_joint_blocks_1_x_block_attn2_qkv": ("transformer_blocks.1.attn2", ("to_q", "to_k", "to_v")),
    "lora_unet_joint_blocks_23_context_block_attn_qkv": (
        "transformer_blocks.23.attn",
        ("add_q_proj", "add_k_proj", "add_v_proj"),
    ),
}


@settings(max_examples=60)
@given(
    layer=st.sampled_from(sorted(FUSED)),
    width=st.integers(1, 6),
    mlp=st.integers(1, 9),
    rank=st.integers(1, 4),
    alpha=st.sampled_from([0.25, 0.5, 1.0, 4.0]),
    dtype=st.sampled_from([torch.float32, torch.float16, torch.bfloat16]),
    seed=st.integers(0, 1000),
)
def test_the_parts_make_up_the_fused_update_exactly(
    layer: str, width: int, mlp: int, rank: int, alpha: float, dtype: torch.dtype, seed: int
) -> None:
    """For any sizes, q, k, v (and feed-forward) under one another are scale * up @ down, in exact arithmetic."""
    generator = torch.Generator().manual_seed(seed)
    path, names = FUSED[layer]
    outputs = 3 * width + (mlp if len(names) > 3 else 0)
    down = torch.randint(-8, 9, (rank, width), generator=generator).to(dtype)
    up = torch.randint(-8, 9, (outputs, rank), generator=generator).to(dtype)
    content = {f"{layer}.lora_down.weight": down, f"{layer}.lora_up.weight": up, f"{layer}.alpha": torch.tensor(alpha)}
    found, assumed = to_spm(TensorFile(content, {}, ""), "")
    parts = [layer_name(f"{path}.{name}") for name in names]
    assert not assumed
    assert found.keys() == {
        f"{part}.{half}" for part in parts for half in ("lora_down.weight", "lora_up.weight", "alpha")
    }
    # Whole numbers this small have exact products in float64, so that nothing hides in a tolerance.
    updates = [
        float(found[f"{part}.alpha"])
        / rank
        * (found[f"{part}.lora_up.weight"].double() @ found[f"{part}.lora_down.weight"].double())
        for part in parts
    ]
    assert torch.equal(torch.cat(updates), alpha / rank * (up.double() @ down.double()))
    assert {tensor.dtype for key, tensor in found.items() if "weight" in key} == {dtype}


@pytest.mark.parametrize(("family", "modules"), [("flux", 418), ("sd3", 285)])
def test_every_layer_of_the_published_models_has_its_module(family: str, modules: int, tmp_path: Path) -> None:
    """A file of all layers but modulation fits the published model whole, and goes out and in again unchanged."""
    layers = flux_layers(3072, 19, 38) if family == "flux" else sd3_layers(1536, 24)
    save_file(lora(layers, rank=1, dtype=torch.float16), tmp_path / "kohya", metadata={"ss_network_dim": "1"})
    foreign = read_foreign(tmp_path / "kohya")
    targets = published_targets(family)
    assert foreign.spm.family == family
    assert len(foreign.spm.resolve(targets)) == modules == len(targets)
    write_import(foreign, tmp_path / "in", family=family, concept="cat")
    own = load_file(tmp_path / "in")
    for form in ("kohya", "diffusers"):
        export_spm(tmp_path / "in", tmp_path / "out", form=form, targets=targets)  # type: ignore[arg-type]
        write_import(read_foreign(tmp_path / "out"), tmp_path / "again", family=family)
        again = load_file(tmp_path / "again")
        assert own.keys() == again.keys()
        assert all(own[key].dtype == again[key].dtype and torch.equal(own[key], again[key]) for key in own)


@pytest.mark.parametrize("split_qkv", [False, True])
def test_diffusers_cuts_flux_as_we_do(split_qkv: bool, tmp_path: Path) -> None:
    """diffusers' own converter, which knows FLUX's width alone, gives each module the same update.

    So it does with files of sd-scripts' `split_qkv`, which it makes thinner again.
    """
    content = lora(flux_layers(3072, 1, 1), rank=12)
    if split_qkv:
        for key, up in content.items():
            if key.endswith(("qkv.lora_up.weight", "linear1.lora_up.weight")):
                rows = [3072] * 3 + [12288] * ("linear1" in key)
                kept = torch.block_diag(*(torch.ones(size, 12 // len(rows)) for size in rows))
                content[key] = up * kept
    save_file(content, tmp_path / "kohya.safetensors")
    theirs = FluxPipeline.lora_state_dict(tmp_path, weight_name="kohya.safetensors")
    ours = read_foreign(tmp_path / "kohya.safetensors").spm.resolve(published_targets("flux"))
    assert {f"transformer.{layer.name}" for layer in ours} == {key.partition(".lora_")[0] for key in theirs}
    assert (theirs["transformer.transformer_blocks.0.attn.to_q.lora_A.weight"].shape[0] == 4) is split_qkv
    for layer in ours:
        given = torch.randn(layer.down.shape[1])
        down, up = (theirs[f"transformer.{layer.name}.lora_{half}.weight"] for half in "AB")
        assert torch.allclose(layer.scale * (layer.up @ (layer.down @ given)), up @ (down @ given), atol=1e-4)


class Updates(dict[str, torch.Tensor]):
    """A checkpoint of the original code that holds updates, and is zero where there are none."""

    def pop(self, key: str, *_: Any) -> torch.Tensor:
        return super().pop(key, torch.zeros(6))


def test_diffusers_cuts_sd3_as_we_do() -> None:
    """diffusers reads no such LoRA files of SD3, but its converter of checkpoints moves each update to our module."""
    content = lora(sd3_layers(16, 3, dual=1))
    updates = Updates({"context_embedder.weight": torch.zeros(16, 8)})
    for layer in sd3_layers(16, 3, dual=1):
        number, _, rest = layer.removeprefix("lora_unet_joint_blocks_").partition("_")
        side, _, inner = rest.partition("_block_")
        scale = content[f"{layer}.alpha"] / 2
        updates[f"joint_blocks.{number}.{side}_block.{inner.replace('_', '.')}.weight"] = scale * (
            content[f"{layer}.lora_up.weight"] @ content[f"{layer}.lora_down.weight"]
        )
    theirs = {
        layer_name(key.removesuffix(".weight")): update
        for key, update in convert_sd3_transformer_checkpoint_to_diffusers(updates).items()
        if update.abs().sum() > 0
    }
    ours, _ = to_spm(TensorFile(content, {}, ""), "")
    assert theirs.keys() == {key.partition(".")[0] for key in ours}
    for layer, update in theirs.items():
        down, up = ours[f"{layer}.lora_down.weight"], ours[f"{layer}.lora_up.weight"]
        assert torch.allclose(ours[f"{layer}.alpha"] / 2 * (up @ down), update, atol=1e-6)


def flux_file(**changed: Any) -> dict[str, torch.Tensor]:
    return {**lora({"lora_unet_double_blocks_0_img_attn_qkv": (4, 12)}), **changed}


QKV = "lora_unet_double_blocks_0_img_attn_qkv"


@pytest.mark.parametrize(
    ("content", "error", "message", "hint"),
    [
        (
            lora({"lora_unet_double_blocks_0_img_mod_lin": (4, 24)}),
            errors.AdapterKeyError,
            "'lora_unet_double_blocks_0_img_mod_lin.* is a modulation",
            "img_mod_dim=0 txt_mod_dim=0 single_mod_dim=0",
        ),
        (
            lora({"lora_unet_single_blocks_5_modulation_lin": (4, 12)}),
            errors.AdapterKeyError,
            "'lora_unet_single_blocks_5_modulation_lin.* is a modulation",
            "single_mod_dim=0",
        ),
        (
            lora({"lora_unet_joint_blocks_0_x_block_adaLN_modulation_1": (4, 24)}),
            errors.AdapterKeyError,
            "'lora_unet_joint_blocks_0_x_block_adaLN_modulation_1.* is a modulation",
            "x_mod_dim=0 context_mod_dim=0",
        ),
        (
            lora({"lora_unet_time_in_in_layer": (4, 4)}),
            errors.AdapterKeyError,
            "'lora_unet_time_in_in_layer.* lies outside of the transformer's blocks",
            "without in_dims and emb_dims",
        ),
        (
            lora({"lora_unet_double_blocks_0_img_mlp_fc1": (4, 16)}),
            errors.AdapterKeyError,
            "'lora_unet_double_blocks_0_img_mlp_fc1.* is of a layer that neither FLUX nor SD3 has",
            "for another model",
        ),
        (
            lora({QKV: (4, 13)}),
            errors.AdapterShapeError,
            f"{QKV}.lora_up.weight has 13 rows; q, k and v of a layer with 4 inputs have 12",
            "for another model",
        ),
        (
            lora({"lora_unet_single_blocks_0_linear1": (4, 12)}),
            errors.AdapterShapeError,
            "has 12 rows; q, k and v of a layer with 4 inputs have more than 12",
            "for another model",
        ),
        (
            {f"{QKV}.lora_up.weight": torch.ones(12, 1), f"{QKV}.alpha": torch.ones(())},
            errors.AdapterHalfError,
            f"layer {QKV} lacks {QKV}.lora_down.weight",
            "half a layer",
        ),
        (
            flux_file(**{f"{QKV}.dora_scale": torch.ones(12)}),
            errors.AdapterKeyError,
            f"'{QKV}.dora_scale' is no part of a layer",
            "DoRA",
        ),
        (
            flux_file(**{"transformer.transformer_blocks.0.attn.to_k.lora_B.weight": torch.ones(4, 2)}),
            errors.AdapterDuplicateError,
            "'lora_transformer_transformer_blocks_0_attn_to_k.lora_up.weight' is there under two names",
            "remove one",
        ),
        (flux_file(**{f"{QKV}.lora_down.weight": torch.ones(())}), errors.AdapterShapeError, QKV, "another model"),
        (
            flux_file(**{f"{QKV}.lora_up.weight": torch.ones(12, 3)}),
            errors.AdapterRankError,
            "has rank 2 by its down and 3 by its up",
            "export the adapter again",
        ),
    ],
)
def test_what_cannot_be_cut_is_named(
    content: dict[str, torch.Tensor], error: type[errors.AdapterError], message: str, hint: str, tmp_path: Path
) -> None:
    """Each is an error of its own kind with the key, the file and what to do."""
    save_file(content, tmp_path / "lora")
    with pytest.raises(error, match=message) as caught:
        read_foreign(tmp_path / "lora")
    assert caught.value.where == str(tmp_path / "lora")
    assert hint in str(caught.value.hint)


def test_a_small_model_is_named_where_a_published_one_does_not_fit(tmp_path: Path) -> None:
    """A file of another width is cut by its own sizes, and fits the model of that width."""
    model = family_model("flux")
    save_file(lora(flux_layers(16, 1, 1)), tmp_path / "lora")
    spm = read_foreign(tmp_path / "lora").spm
    assert len(spm.resolve(model.targets())) == len(model.targets())
    with pytest.raises(errors.AdapterShapeError):
        spm.resolve(published_targets("flux"))
