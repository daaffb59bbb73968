"""`safegen spm import | export` on the shipped adapters and on published files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from safegen import errors
from safegen.cli import app
from safegen.models.layouts import published_targets
from safegen.spm import Registry, read_spm
from safegen.spm.calibration import KEY, Knot, stored_calibration
from safegen.spm.layers import layer_name
from safegen.spm.tensor_reading import read_tensors
from safegen.spm.tensor_writing import write_tensors

ADAPTER = "sticker/cat"


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, ["spm", *map(str, arguments)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.parametrize("form", ["kohya", "diffusers"])
def test_a_shipped_adapter_goes_out_and_comes_back(form: str, tmp_path: Path, registry: Registry) -> None:
    """Exported by its id and imported again, it has the same tensors, family and concept."""
    out, back = tmp_path / "lora.safetensors", tmp_path / "back.safetensors"
    assert json.loads(run("export", ADAPTER, "--format", form, "--out", out, "--json"))["format"] == form
    shown = json.loads(run("import", out, "--base", "sticker", "--out", back, "--json"))
    own, again = load_file(registry.folder / registry.adapter(ADAPTER).path), load_file(back)
    assert own.keys() == again.keys()
    assert all(torch.equal(own[key], again[key]) and own[key].dtype == again[key].dtype for key in own)
    assert (shown["family"], shown["layers"]) == ("sd1", len(own) // 3)
    assert shown["modules"] == 84, "the base has more modules than a solved SPM touches"
    assert shown["calibration_dropped"]
    assert "diffusers" in run("export", back, "--format", "diffusers", "--base", "sticker", "--out", out)


def test_a_published_file_is_fitted_to_its_familys_published_model(tmp_path: Path) -> None:
    """Without a base model, the family is told from the layers; an alpha that is stated nowhere is said."""
    paths = [path for path in published_targets("sdxl") if "attn2.to_k" in path][:2]
    file = tmp_path / "lora.safetensors"
    save_file(
        {
            f"{layer_name(path)}.{part}.weight": torch.ones(*shape)
            for path in paths
            for part, shape in (("lora_down", (4, 2048)), ("lora_up", (640, 4)))
        },
        file,
    )
    said = run("import", file, "--out", tmp_path / "in.safetensors", "--concept", "cat")
    assert "sdxl, 2 of 722 modules, rank 4" in said
    assert "alpha = rank" in said
    with pytest.raises(errors.AdapterFamilyError, match=r"for .*\(sdxl\); this model is .*\(sd1\)"):
        run("import", file, "--out", tmp_path / "in.safetensors", "--base", "sticker")


def test_a_calibration_of_another_text_space_is_dropped_and_said(tmp_path: Path, registry: Registry) -> None:
    """What a file brings cannot open a gate: it is not imported, a guard makes its own, and `calibrate` keeps one."""
    own = read_spm(registry.folder / registry.adapter(ADAPTER).path)
    fitted = stored_calibration(own.metadata)
    assert fitted is not None
    closed = Knot(similarity=1.0, gamma=1.0)
    elsewhere = fitted.model_copy(update={"space": "sha256:" + "1" * 64, "curve": (closed,)})
    source, file = tmp_path / "lora.safetensors", tmp_path / "in.safetensors"
    content = read_tensors(registry.folder / registry.adapter(ADAPTER).path)
    write_tensors(source, content.tensors, {**content.metadata, KEY: elsewhere.to_metadata()})
    assert "calibration was dropped" in run("import", source, "--base", "sticker", "--out", file)
    assert read_spm(file).metadata.keys() == {*own.metadata, "source_digest"} - {KEY}
    run("calibrate", file, "--base", "sticker", "--write")
    refitted = stored_calibration(read_spm(file).metadata)
    assert refitted is not None
    assert refitted.space == fitted.space
    assert refitted.cutoff == pytest.approx(fitted.cutoff, abs=1e-4)
    again = json.loads(run("import", file, "--base", "sticker", "--out", tmp_path / "again.safetensors", "--json"))
    assert again["calibration_dropped"], "also one of this text space, which the layout of a base does not tell"


def test_a_file_that_tells_no_family_needs_a_base(tmp_path: Path) -> None:
    """Layers that several families have are attributed to none."""
    layer = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q"
    halves = {f"{layer}.lora_down.weight": torch.ones(1, 8), f"{layer}.lora_up.weight": torch.ones(8, 1)}
    save_file(halves, tmp_path / "lora.safetensors")
    with pytest.raises(errors.AdapterFamilyError, match="do not tell") as caught:
        run("import", tmp_path / "lora.safetensors")
    assert "--base" in caught.value.hint
