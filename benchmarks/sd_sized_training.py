"""A shipped recipe, unchanged, on a model of Stable Diffusion 1.4's size: does it run, how long, in how much memory?

The UNet has SD 1.4's configuration, the text encoder CLIP ViT-L's; weights are random, so nothing is fetched and
nothing is said about what is erased. The autoencoder is small, since training does not use it. Each method is one run
of the command line in a process of its own, as a user would give it, on a machine that has read nothing yet; an update
holds its share of roll-outs. Memory is the process's own, not a GPU's. `--quick` has the same parts, narrower.

    python benchmarks/sd_sized_training.py [--quick] [--only closed-form|loop] [--updates 2] [--device cuda] [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from overhead_models import SD14, sd14_unet
from reporting import Report

RECIPE = "nudity"
METHODS = ("closed-form", "loop")
ROOT = Path(__file__).parents[1]
NARROW = {"block_out_channels": (32, 64, 128, 128), "cross_attention_dim": 64, "sample_size": 16}
PARTS = {"closed-form": ("attn2_to_k", "attn2_to_v"), "loop": ("",)}
"""How the layers that each method makes end."""


@dataclass(frozen=True)
class Run:
    """One run of the command line."""

    right: bool
    wall: float
    made: float
    memory: float
    layers: int
    values: int
    said: str


def build(folder: Path, changes: dict[str, Any]) -> tuple[int, int]:
    """Save the model as diffusers does; parameters of UNet and text encoder."""
    import torch
    from diffusers import AutoencoderKL, PNDMScheduler, StableDiffusionPipeline
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    from safegen.data import data_folder

    torch.manual_seed(0)
    width = {**SD14, **changes}["cross_attention_dim"]
    reader = CLIPTokenizer.from_pretrained(
        data_folder("spm_models") / "bases/sticker/tokenizer", model_max_length=77, local_files_only=True
    )
    text = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=49408,
            hidden_size=width,
            intermediate_size=4 * width,
            num_hidden_layers=12,
            num_attention_heads=width // 64,
            max_position_embeddings=77,
            bos_token_id=reader.bos_token_id,
            eos_token_id=reader.eos_token_id,
            pad_token_id=reader.pad_token_id,
        )
    )
    coder = AutoencoderKL(
        block_out_channels=(8,) * 4, down_block_types=("DownEncoderBlock2D",) * 4, latent_channels=4,
        up_block_types=("UpDecoderBlock2D",) * 4, norm_num_groups=4,
    )  # fmt: skip
    scheduler = PNDMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", skip_prk_steps=True, steps_offset=1
    )
    unet = sd14_unet(**changes)
    StableDiffusionPipeline(
        vae=coder, text_encoder=text, tokenizer=reader, unet=unet, scheduler=scheduler, safety_checker=None,
        feature_extractor=None, requires_safety_checker=False,
    ).save_pretrained(folder)  # fmt: skip
    unet_size, text_size = (sum(each.numel() for each in part.parameters()) for part in (unet, text))
    return unet_size, text_size


def run(method: str, base: Path, out: Path, updates: int, device: str) -> Run:
    """Train by one command, without pictures."""
    arguments = ["spm", "train", "--recipe", RECIPE, "--base", str(base), "--method", method, "--device", device]
    arguments += ["--steps", str(updates), "--pictures", "0", "--out", str(out / method), "--json"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "SAFEGEN_CACHE": str(out / "cache" / method)}
    began = time.perf_counter()
    with tempfile.TemporaryFile("w+") as stdout, tempfile.TemporaryFile("w+") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-c", "from safegen.cli import main; main()", *arguments],
            stdout=stdout, stderr=stderr, env=environment,
        )  # fmt: skip
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        wall, memory = time.perf_counter() - began, used.ru_maxrss / 2**20
        stdout.seek(0)
        stderr.seek(0)
        if process.returncode:
            said = (stderr.read().strip().splitlines() or ["nothing said"])[-1]
            return Run(False, wall, 0.0, memory, 0, 0, f"exit code {process.returncode}: {said}")
        return _checked(method, json.load(stdout)[0], wall, memory)


def _checked(method: str, made: dict[str, Any], wall: float, memory: float) -> Run:
    """What the file must be: whole, finite, of the method's layers alone, and not nothing."""
    from safegen.spm import read_spm

    spm = read_spm(Path(made["path"]), expected=made["digest"])
    tensors = [tensor for down, up, _ in spm.layers.values() for tensor in (down, up)]
    right = (
        all(bool(tensor.isfinite().all()) for tensor in tensors)
        and any(bool(up.any()) for _, up, _ in spm.layers.values())
        and all(name.endswith(PARTS[method]) for name in spm.layers)
        and spm.metadata["method"] == method
    )
    said = "finished" if right else "the file is not what it should be"
    return Run(right, wall, float(made["seconds"]), memory, len(spm.layers), spm.parameters, said)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--only", choices=METHODS)
    parser.add_argument("--updates", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    name = f"sd_sized_training-{options.only}" if options.only else "sd_sized_training"
    report = Report(name, extra={"device": options.device, "quick": options.quick})
    rows: list[tuple[Any, ...]] = []
    with tempfile.TemporaryDirectory() as scratch:
        base = Path(scratch) / "sd-sized"
        unet, text = build(base, NARROW if options.quick else {})
        for method in (options.only,) if options.only else METHODS:
            found = run(method, base, Path(scratch), options.updates, options.device)
            each = f"{found.made / options.updates:.1f}" if method == "loop" else "-"
            share = f"{found.values / unet:.3%}"
            rows.append(
                (method, found.said, found.wall, found.made, each, found.memory, found.layers, found.values, share)
            )
            report.at_least(f"{method}: `{RECIPE}` runs unchanged and gives a whole file", float(found.right), 1)
    columns = ("method", "outcome", "whole command, s", "making, s", "an update, s", "peak memory, GiB")
    title = f"UNet {unet / 1e6:.1f} M, text encoder {text / 1e6:.1f} M, float32, {options.updates} updates of the loop"
    report.tables.append((title, (*columns, "layers", "values", "of the UNet"), rows))
    report.finish(as_json=options.json, keep=not options.quick)


if __name__ == "__main__":
    main()
