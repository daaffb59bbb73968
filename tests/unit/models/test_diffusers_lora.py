"""What is exported loads with diffusers' own `load_lora_weights`, and does there what our attach does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from safegen.spm import Attached, attach, read_spm
from safegen.spm.exchange import Format, export_spm, read_foreign
from safegen.spm.layers import layer_name
from safegen.spm.tensor_writing import write_tensors
from tests.families import BUILDERS, family_model
from tests.sd_scripts import flux_layers, lora

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")

CASES = [(family, "diffusers") for family in BUILDERS] + [(family, "kohya") for family in ("sd1", "sd2", "sdxl")]


@pytest.fixture
def pipeline(family: str) -> Iterator[Any]:
    """The family's pipeline, with every LoRA taken off again."""
    model = family_model(family)
    yield model.pipeline
    model.pipeline.unload_lora_weights()


def predicted(model: Any) -> torch.Tensor:
    latents = model.noise(2, torch.Generator().manual_seed(0))
    with torch.no_grad():
        return model.predict(latents, model.timesteps(4)[1], model.encode(["a cat", "the dog"]))


def mixed_spm(model: Any, path: Path, alphas: tuple[float, ...]) -> None:
    """Ranks 1 to 3, and the alphas in turn, in every target."""
    torch.manual_seed(2)
    tensors = {}
    for number, (name, module) in enumerate(model.targets().items()):
        rank, layer, tail = 1 + number % 3, layer_name(name), (1,) * (module.weight.ndim - 2)
        tensors[f"{layer}.lora_down.weight"] = torch.randn(rank, *module.weight.shape[1:]) / 4
        tensors[f"{layer}.lora_up.weight"] = torch.randn(module.weight.shape[0], rank, *tail) / 4
        tensors[f"{layer}.alpha"] = torch.tensor(alphas[number % len(alphas)])
    write_tensors(path, tensors, {"prompts": "cat"})


@pytest.mark.parametrize(("family", "form"), CASES)
def test_diffusers_predicts_what_our_attach_predicts(family: str, form: Format, pipeline: Any, tmp_path: Path) -> None:
    """At permeability 1, with mixed ranks in every target, both give the same noise prediction.

    So they do with mixed alphas, but diffusers misplaces those of attention layers when it reads kohya's format.
    """
    model = family_model(family)
    mixed_spm(model, tmp_path / "spm.safetensors", (0.75,) if form == "kohya" else (0.25, 0.5, 0.75, 1.0, 1.25))
    export_spm(tmp_path / "spm.safetensors", tmp_path / "lora.safetensors", form=form, targets=model.targets())
    bare = predicted(model)
    with attach(model.targets(), [Attached(read_spm(tmp_path / "spm.safetensors"), 1.0)]):
        ours = predicted(model)
    pipeline.load_lora_weights(tmp_path, weight_name="lora.safetensors")
    theirs = predicted(model)
    assert not torch.allclose(bare, ours, atol=1e-2)
    assert torch.allclose(ours, theirs, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("family", ["flux"])
def test_a_file_of_fused_layers_does_in_diffusers_what_it_does_here(family: str, pipeline: Any, tmp_path: Path) -> None:
    """sd-scripts' file, loaded by diffusers as it is and imported by us, gives the same prediction.

    But for `linear1` of single blocks, which diffusers cuts at the published width alone.
    """
    model = family_model(family)
    layers = {name: sizes for name, sizes in flux_layers(16, 1, 1).items() if not name.endswith("linear1")}
    save_file(lora(layers), tmp_path / "lora.safetensors")
    bare = predicted(model)
    with attach(model.targets(), [Attached(read_foreign(tmp_path / "lora.safetensors").spm, 1.0)]):
        ours = predicted(model)
    pipeline.load_lora_weights(tmp_path, weight_name="lora.safetensors")
    theirs = predicted(model)
    assert not torch.allclose(bare, ours, atol=1e-2)
    assert torch.allclose(ours, theirs, atol=1e-4, rtol=1e-4)
