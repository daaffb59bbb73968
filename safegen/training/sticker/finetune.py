"""Fine-tunes the sticker base to a look of its own, as people fine-tune Stable Diffusion.

`python -m safegen.training.sticker.finetune watercolour` makes one base; each step can be killed and resumed. The bases
exist so that what an SPM does on a model it was not trained on can be measured. Invariant: nothing but the named
parts changes; autoencoder and tokenizer stay the sticker base's.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from PIL import Image
from platformdirs import user_cache_path

from safegen.data import data_folder
from safegen.errors import TrainingError
from safegen.spm import Registry
from safegen.training.sticker import autoencoder, export
from safegen.training.sticker.__main__ import Recipe
from safegen.training.sticker.captions import Captions
from safegen.training.sticker.denoiser import Batches, build_scheduler, draw_grid, velocity_loss
from safegen.training.sticker.looks import LOOKS
from safegen.training.sticker.pool import Pool, render_pool
from safegen.training.sticker.running import Run, Schedule

COPIES, SEED = 4, 23


@dataclass(frozen=True, slots=True)
class Tuning:
    """How one base is fine-tuned.

    Attributes:
        look: what every picture is seen through, a key of `looks.LOOKS`.
        steps: updates of 32 pictures.
        rate: peak learning rate of the denoiser.
        text_rate: likewise of the text encoder; 0 leaves it as it is.
    """

    look: str
    steps: int = 700
    rate: float = 4e-4
    text_rate: float = 0.0


TUNINGS = {"watercolour": Tuning("watercolour"), "dusk": Tuning("dusk", text_rate=1e-4)}
"""By the name of the base. `dusk` tunes the text encoder too, so that transfer is tried where the words moved."""


def render(recipe: Recipe, tuning: Tuning, folder: Path) -> Pool:
    """The pictures to tune on, kept in `folder`."""
    path = folder / "pool.npz"
    if not path.is_file():
        rendered = render_pool(recipe.world, recipe.drawings(), COPIES, SEED, LOOKS[tuning.look])
        np.savez(path, pictures=rendered.pictures, labels=rendered.labels)
    kept = np.load(path)
    return Pool(pictures=kept["pictures"], labels=kept["labels"])


def tune(captions: Captions, tuning: Tuning, pool: Pool, folder: Path, *, previews: bool = True) -> None:
    """Fine-tune on the pool; save to `folder/unet`, and `folder/text_encoder` if it is tuned.

    Args:
        captions: the language of the pool.
        tuning: which parts, how long, how fast.
        pool: what to learn.
        folder: where results and the checkpoint go.
        previews: draw a few prompts now and then, to `folder/previews`.
    """
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer

    parent = data_folder("spm_models") / "bases" / "sticker"
    torch.manual_seed(0)
    tokenizer = CLIPTokenizer.from_pretrained(parent / "tokenizer")
    text_encoder = CLIPTextModel.from_pretrained(parent / "text_encoder", dtype=torch.float32)
    unet = UNet2DConditionModel.from_pretrained(parent / "unet", torch_dtype=torch.float32)
    unet = unet.train().to(memory_format=torch.channels_last)
    vae = AutoencoderKL.from_pretrained(parent / "vae", torch_dtype=torch.float32)
    batches = Batches(*autoencoder.encode(vae, pool.pictures), pool.labels, captions, tokenizer)
    models: dict[str, torch.nn.Module] = {"unet": unet}
    groups = [{"params": list(unet.parameters()), "lr": tuning.rate}]
    if tuning.text_rate:
        models["text_encoder"] = text_encoder.train()
        groups.append({"params": list(text_encoder.parameters()), "lr": tuning.text_rate})
    else:
        text_encoder.eval().requires_grad_(requires_grad=False)
    optimiser = torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
    schedule = Schedule(tuning.rate, tuning.steps, warm_up=50, flat=0.3)
    run = Run(folder / "run.safetensors", models, optimiser, schedule, seed=5, decay=0.99)
    averages = {name: average.shadow for name, average in run.averages.items()}
    reader = averages.get("text_encoder", text_encoder)
    scheduler = build_scheduler()

    def preview(step: int) -> None:
        draw_grid(averages["unet"], reader, tokenizer, parent / "vae", folder / "previews" / f"{step:06d}.png")

    run.go(
        lambda generator, step: velocity_loss(unet, text_encoder, scheduler, *batches.draw(generator, step), generator),
        title=tuning.look,
        preview=preview if previews else None,
    )
    for name, model in averages.items():
        model.save_pretrained(folder / name)


def contact_sheet(pool: Pool, path: Path, *, columns: int = 16, rows: int = 4) -> None:
    """Pictures drawn at random from a pool, to be looked at."""
    chosen = random.Random(0).sample(range(len(pool.pictures)), columns * rows)  # noqa: S311 - variation, not secrecy
    lines = [np.concatenate(list(pool.pictures[chosen[row::rows]]), 1) for row in range(rows)]
    Image.fromarray(np.concatenate(lines, 0)).save(path)


def main(
    name: Annotated[str, typer.Argument(help="watercolour or dusk.")],
    folder: Annotated[Path | None, typer.Option(help="Working folder; in the user's cache by default.")] = None,
    threads: Annotated[int, typer.Option(help="Processor threads to train with.")] = 2,
    *,
    register: Annotated[bool, typer.Option("--register", help="Write it to spm_models and its index.")] = False,
) -> None:
    """Make one fine-tuned base; resumes what was killed."""
    if name not in TUNINGS:
        raise TrainingError(f"there is no recipe for a base {name!r}", hint=f"known: {', '.join(TUNINGS)}")
    torch.set_num_threads(threads)
    home = folder or user_cache_path("safegen") / "sticker-base"
    recipe = Recipe(home)
    own = home / name
    own.mkdir(exist_ok=True)
    pool = render(recipe, TUNINGS[name], own)
    contact_sheet(pool, own / "pool.png")
    tune(recipe.captions, TUNINGS[name], pool, own)
    if register:
        export.export_tuned(own, name, Registry.open()).save()


if __name__ == "__main__":
    typer.run(main)
