"""Every family behind one protocol, on small pipelines with random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import FluxPipeline
from torch import nn

from safegen.errors import AdapterFamilyError, ModelError
from safegen.models import DrawRequest, load_base
from safegen.models.packing import pack, unpack
from safegen.spm import Attached, MembraneSet, SpmFile, attach, read_spm, write_spm
from tests.families import BUILDERS, DIGEST, WIDTH, family_model, flux, sd1

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")
families = pytest.mark.parametrize("family", BUILDERS)
TEXTS = ["a picture of the cat", "a dog"]


def request(**changes: Any) -> DrawRequest:
    settings = {"prompts": ("a cat", "the dog"), "seeds": (1, 2), "width": 16, "height": 16, "steps": 3}
    return DrawRequest(**{**settings, **changes})


def predicted(model: Any, noise_seed: int = 0) -> torch.Tensor:
    latents = model.noise(2, torch.Generator().manual_seed(noise_seed))
    with torch.no_grad():
        return model.predict(latents, model.timesteps(4)[1], model.encode(TEXTS))


def spm_for(model: Any, path: Path, **metadata: str) -> SpmFile:
    torch.manual_seed(3)
    membranes = MembraneSet(model.targets(), rank=2)
    for membrane in membranes.membranes:
        nn.init.normal_(membrane.up)
    write_spm(path, membranes, metadata)
    return read_spm(path)


@families
def test_a_roll_out_is_what_the_pipeline_itself_draws(family: str) -> None:
    """noise, timesteps, predict and step give the latents that diffusers' pipeline gives without guidance."""
    model = family_model(family)
    start = model.noise(2, torch.Generator().manual_seed(5))
    given = FluxPipeline._pack_latents(start, 2, 4, 8, 8) if family == "flux" else start
    with torch.no_grad():
        theirs = model.pipeline(
            TEXTS, width=16, height=16, num_inference_steps=4, guidance_scale=1.0, latents=given, output_type="latent"
        ).images
        latents, states = start, model.encode(TEXTS)
        for timestep in model.timesteps(4):
            latents = model.step(model.predict(latents, timestep, states), timestep, latents)
    if family == "flux":
        latents = FluxPipeline._pack_latents(latents, 2, 4, 8, 8)
    assert torch.allclose(latents, theirs, atol=1e-4)


@families
def test_a_text_read_without_padding_reads_the_same(family: str) -> None:
    """Up to the end of the text, alone or beside a longer one, the states are those of the padded row."""
    model = family_model(family)
    whole, short = model.read(TEXTS), model.read(TEXTS, padding=False)
    longest = max(len(reading.tokens) for reading in whole)
    for padded, bare in zip(whole, short, strict=True):
        assert (bare.tokens, bare.truncated, len(bare.states)) == (padded.tokens, False, 2 + longest)
        end = 2 + len(padded.tokens)
        assert torch.allclose(bare.states[:end], padded.states[:end], atol=1e-5)
    assert longest + 2 < len(whole[0].states)


@families
def test_drawing_gives_each_seed_its_picture(family: str) -> None:
    """Two prompts give two pictures, the same again, and a picture alone is what it is in company."""
    model = family_model(family)
    steps: list[tuple[int, int]] = []
    first, second = model.draw(request(), progress=lambda done, of: steps.append((done, of))).images
    alone = model.draw(request(prompts=("the dog",), seeds=(2,))).images[0]
    assert steps == [(1, 3), (2, 3), (3, 3)]
    assert first.size == (16, 16)
    assert not np.array_equal(np.asarray(first), np.asarray(second))
    assert np.abs(np.asarray(second, int) - np.asarray(alone, int)).max() <= 1


@families
def test_negative_prompt_and_guidance_change_the_picture(family: str) -> None:
    """Guidance and the negative prompt reach the pipeline in every family."""
    model = family_model(family)
    plain, strong, negative = (
        np.asarray(model.draw(request(**changes)).images[0], int)
        for changes in ({"guidance": 2.0}, {"guidance": 9.0}, {"guidance": 9.0, "negative_prompt": "the dog"})
    )
    assert np.abs(plain - strong).max() > 0
    assert np.abs(negative - strong).max() > 0


@families
def test_readings_have_a_row_for_each_token_of_the_clip_encoders(family: str) -> None:
    """States are as wide as the encoders together, tokens are without start and end, long texts are marked."""
    model = family_model(family)
    short, long = model.read(["a cat", "cat " * 99])
    encoders = 2 if family in {"sdxl", "sd3"} else 1
    assert short.states.shape == long.states.shape == (32, encoders * WIDTH)
    assert (len(short.tokens), short.truncated) == (2, False)
    assert (len(long.tokens), long.truncated) == (30, True)


@families
def test_an_spm_acts_and_leaves_no_trace(family: str, tmp_path: Path) -> None:
    """Attached, an SPM changes the prediction; detached, the prediction is the bare one bit for bit."""
    model = family_model(family)
    spm = spm_for(model, tmp_path / "s.safetensors")
    bare = predicted(model)
    with attach(model.targets(), [Attached(spm, 1.0)]):
        opened = predicted(model)
    assert not torch.allclose(bare, opened, atol=1e-3)
    assert torch.equal(bare, predicted(model))


@families
@pytest.mark.parametrize("claims", ["", "the model's"])
def test_another_family_refuses_and_names_both(family: str, claims: str, tmp_path: Path) -> None:
    """An SPM of one family is refused by each other one, with and without metadata that lies."""
    spm = spm_for(family_model(family), tmp_path / "s.safetensors")
    for other in BUILDERS.keys() - {family}:
        metadata = {"family": other} if claims else {}
        model = family_model(other)
        lying = SpmFile(layers=spm.layers, metadata=metadata, digest=spm.digest)
        before = predicted(model)
        with (
            pytest.raises(AdapterFamilyError, match=rf"for .*\({family}\).*this model is .*\({other}\)"),
            attach(model.targets(), [Attached(lying, 1.0)]),
        ):
            pass
        assert torch.equal(before, predicted(model))


def test_an_spm_of_one_model_attaches_to_another_of_its_family(tmp_path: Path) -> None:
    """Transfer: what was made on one 1.x model acts on another one with other weights."""
    spm = spm_for(family_model("sd1"), tmp_path / "s.safetensors")
    other = sd1()
    bare = predicted(other)
    with attach(other.targets(), [Attached(spm, 1.0)]):
        assert not torch.allclose(bare, predicted(other), atol=1e-3)


@families
def test_a_saved_pipeline_loads_as_its_family(family: str, tmp_path: Path) -> None:
    """load_base finds the family from the folder, and the loaded model predicts what the saved one does."""
    model = family_model(family)
    model.pipeline.save_pretrained(tmp_path)
    loaded = load_base(tmp_path, digest=DIGEST)
    assert (loaded.family, loaded.digest) == (family, DIGEST)
    if family == "flux":  # not part of a saved pipeline
        loaded.pipeline.default_sample_size = 8  # type: ignore[attr-defined]
    assert torch.allclose(predicted(loaded), predicted(model), atol=1e-5)


@families
def test_all_that_the_denoiser_takes_and_gives_lies_on_its_device(family: str) -> None:
    """On a device that refuses to be mixed with the CPU, a step of a roll-out runs to its end."""
    with torch.random.fork_rng(devices=[]):
        model = BUILDERS[family]()
    model.pipeline.to("meta")  # computes shapes and devices, no values
    with torch.no_grad():
        latents, states = model.noise(2, torch.Generator().manual_seed(0)), model.encode(TEXTS)
        timestep = model.timesteps(4)[1]
        stepped = model.step(model.predict(latents, timestep, states), timestep, latents)
    assert {each.device.type for each in (latents, states, stepped)} == {"meta"}


def test_a_device_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """An unknown device, or one that this machine lacks, is an error with a hint, before anything is loaded."""
    family_model("sd1").pipeline.save_pretrained(tmp_path)
    for name in ("nonsense", "cuda:99", "mps:7"):
        with pytest.raises(ModelError, match=f"{name}.*cannot be used here"):
            load_base(tmp_path, digest=DIGEST, device=name)


def test_folders_that_hold_no_known_model_are_refused(tmp_path: Path) -> None:
    """No index, an unreadable one, an unknown pipeline, a pipeline with code of its own, a missing part."""
    index = tmp_path / "model_index.json"
    with pytest.raises(ModelError, match="no diffusers model"):
        load_base(tmp_path, digest=DIGEST)
    for content, message in (
        ("{", "not readable"),
        ("[]", "not readable"),
        ('{"_class_name": "KolorsPipeline"}', "cannot drive a 'KolorsPipeline'"),
        ('{"_class_name": ["my_code", "FluxPipeline"]}', "cannot drive a"),
        ('{"_class_name": "FluxPipeline", "vae": ["diffusers", "AutoencoderKL"]}', "cannot be loaded"),
    ):
        index.write_text(content)
        with pytest.raises(ModelError, match=message):
            load_base(tmp_path, digest=DIGEST)


def test_a_model_without_embedded_guidance_is_guided_by_two_passes() -> None:
    """FLUX schnell has no guidance input, so that a scale above 1 compares with the negative prompt."""
    model = flux(guidance_embeds=False)
    model.pipeline.set_progress_bar_config(disable=True)
    weak, strong = (np.asarray(model.draw(request(guidance=scale)).images[0], int) for scale in (1.0, 9.0))
    assert np.abs(weak - strong).max() > 0


@pytest.mark.parametrize("pooled_width", [1, 4, 5, 11])
def test_unpacking_gives_back_what_was_packed(pooled_width: int) -> None:
    """States and pooled vectors of any width come back bit for bit."""
    states, pooled = torch.randn(3, 2, 4), torch.randn(3, pooled_width)
    again, pooled_again = unpack(pack(states, pooled), pooled_width)
    assert torch.equal(states, again)
    assert torch.equal(pooled, pooled_again)
