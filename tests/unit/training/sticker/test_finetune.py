"""Fine-tuned bases: their looks, and what fine-tuning changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from safegen.data import data_folder
from safegen.training.sticker.captions import Captions
from safegen.training.sticker.finetune import TUNINGS, Tuning, tune
from safegen.training.sticker.looks import LOOKS
from safegen.training.sticker.pool import Pool
from safegen.training.sticker.world import sticker_world


@pytest.mark.parametrize("name", LOOKS)
def test_a_look_is_a_pure_function_that_changes_the_canvas(name: str) -> None:
    """The same canvas gives the same picture, in range, and not the canvas itself."""
    canvas = np.random.default_rng(0).random((128, 128, 3)).astype(np.float32)
    kept = canvas.copy()
    first, second = LOOKS[name](canvas), LOOKS[name](canvas)
    assert first.shape == canvas.shape
    assert np.array_equal(first, second)
    assert np.array_equal(canvas, kept)
    assert first.min() >= 0
    assert first.max() <= 1
    assert np.abs(first - canvas).mean() > 0.02


def test_the_bases_have_the_looks_that_there_are() -> None:
    """Each recipe names a look, and at least one tunes the text encoder too."""
    assert {tuning.look for tuning in TUNINGS.values()} == set(LOOKS)
    assert any(tuning.text_rate for tuning in TUNINGS.values())


@pytest.mark.parametrize("text_rate", [0.0, 1e-4])
def test_tuning_changes_what_it_names_and_goes_on_where_it_was_stopped(tmp_path: Path, text_rate: float) -> None:
    """One update and then another equal two in a row; the text encoder is written only if it is tuned."""
    world = sticker_world()
    pictures = np.random.default_rng(1).integers(0, 255, (24, 64, 64, 3), np.uint8)
    labels = np.array([(row, row % 6, row % 8) for row in range(22)] + [(-1, -1, -1), (-2, -1, -1)], np.int16)
    pool, captions = Pool(pictures, labels), Captions(world, {})
    tuning = Tuning("dusk", steps=1, text_rate=text_rate)
    tune(captions, tuning, pool, tmp_path, previews=False)
    assert (tmp_path / "text_encoder").is_dir() is bool(text_rate)
    tuned = load_file(tmp_path / "unet" / "diffusion_pytorch_model.safetensors")
    parent = load_file(data_folder("spm_models") / "bases/sticker/unet/diffusion_pytorch_model.safetensors")
    assert tuned.keys() == parent.keys()
    assert any(not np.array_equal(tuned[key].numpy(), parent[key].float().numpy()) for key in parent)
    before = (tmp_path / "run.safetensors").read_bytes()
    tune(captions, tuning, pool, tmp_path, previews=False)
    assert (tmp_path / "run.safetensors").read_bytes() == before
