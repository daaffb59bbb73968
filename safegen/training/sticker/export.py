"""Writes the finished base, reviewer and judge into `spm_models`, in half precision, and their index entries.

Invariant: what is exported is what `StableDiffusionPipeline.from_pretrained` and `open_clip` open; only JSON, text and
safetensors, at most 40 MB for the base.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import torch

from safegen.data import folder_digest
from safegen.errors import TrainingError
from safegen.spm import BaseEntry, ModelEntry, Registry
from safegen.training.sticker.denoiser import build_scheduler

LIMIT = 40_000_000
"""Bytes of the whole base."""
_TRAINED = ("text_encoder", "tokenizer", "unet", "vae")
_PARTS = ("model_index.json", "scheduler", "text_encoder", "tokenizer", "unet", "vae")


def export_base(folder: Path, registry: Registry) -> Registry:
    """Assemble the pipeline from the working folder and write it to `spm_models/bases/sticker`.

    Raises:
        TrainingError: it is larger than 40 MB.
    """
    return _write_base("sticker", None, {part: folder / part for part in _TRAINED}, registry)


def export_tuned(folder: Path, name: str, registry: Registry) -> Registry:
    """Write a base that was fine-tuned from the sticker base; what was not tuned is copied from there.

    Raises:
        TrainingError: it is larger than 40 MB.
    """
    parent = registry.folder / "bases" / "sticker"
    parts = {part: folder / part if (folder / part).is_dir() else parent / part for part in _TRAINED}
    registry = _write_base(name, "sticker", parts, registry)
    # It draws what its parent draws, and the gate of its SPMs is calibrated on those words.
    shutil.copyfile(parent / "world.yaml", registry.folder / "bases" / name / "world.yaml")
    return registry


def _write_base(name: str, tuned_from: str | None, parts: Mapping[str, Path], registry: Registry) -> Registry:
    from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer

    pipeline = StableDiffusionPipeline(
        vae=AutoencoderKL.from_pretrained(parts["vae"]),
        text_encoder=CLIPTextModel.from_pretrained(parts["text_encoder"]),
        tokenizer=CLIPTokenizer.from_pretrained(parts["tokenizer"]),
        unet=UNet2DConditionModel.from_pretrained(parts["unet"]),
        scheduler=build_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    home = registry.folder / "bases" / name
    for part in _PARTS:
        path = home / part
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    pipeline.to(dtype=torch.float16).to(memory_format=torch.contiguous_format)
    pipeline.save_pretrained(home)
    for part in ("text_encoder", "unet", "vae"):
        _tidy(home / part / "config.json")
    for file in ("vocab.json", "merges.txt"):  # what older releases of transformers read
        shutil.copyfile(parts["tokenizer"] / file, home / "tokenizer" / file)
    size = sum(path.stat().st_size for part in _PARTS for path in _files(home / part))
    if size > LIMIT:
        raise TrainingError(f"the base has {size:,} bytes, more than {LIMIT:,}", where=str(home))
    entry = BaseEntry(
        id=name,
        path=f"bases/{name}",
        digest=folder_digest(home),
        licence="Apache-2.0",
        family="sd1",
        tuned_from=tuned_from,
        size=64,
        guidance=3.0,
        steps=20,
    )
    return registry.with_entry("bases", entry)


def _tidy(config: Path) -> None:
    """State fp32 as the precision to open in, and no path of the machine that trained.

    transformers obeys the stated precision and diffusers opens the UNet in fp32 anyway; they must agree.
    """
    stated = json.loads(config.read_text(encoding="utf-8"))
    stated.pop("_name_or_path", None)
    if "dtype" in stated:
        stated["dtype"] = "float32"
    config.write_text(json.dumps(stated, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def export_reviewer(folder: Path, registry: Registry, measured: dict[str, float]) -> Registry:
    """Copy the reviewer to `spm_models/reviewers/sticker`."""
    return _export(folder / "reviewer", "reviewers", "sticker/open_clip", registry, measured)


def export_judge(folder: Path, registry: Registry, measured: dict[str, float]) -> Registry:
    """Copy the judge to `spm_models/judges/sticker`."""
    return _export(folder / "judge", "judges", "sticker", registry, measured)


def _export(source: Path, kind: str, name: str, registry: Registry, measured: dict[str, float]) -> Registry:
    path = f"{kind}/sticker"
    home = registry.folder / path
    home.mkdir(parents=True, exist_ok=True)
    for file in source.iterdir():
        shutil.copyfile(file, home / file.name)
    digest = folder_digest(home)
    entry = ModelEntry(id=name, path=path, digest=digest, licence="Apache-2.0", measured=measured)
    return registry.with_entry(kind, entry)


def _files(path: Path) -> list[Path]:
    return [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
