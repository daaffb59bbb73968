"""`python -m safegen.training.sticker`: the whole recipe, step by step, each resumable.

A step whose result lies in the working folder is not repeated. Hours on two cores; kill it whenever you like.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from platformdirs import user_cache_path
from safetensors.torch import load_file, save_file

from safegen.spm import Registry
from safegen.training.sticker import autoencoder, denoiser, export, judge, reviewer, text
from safegen.training.sticker.captions import Captions, keywords
from safegen.training.sticker.drawings import Drawings, rasterise_all
from safegen.training.sticker.pool import Pool, render_pool
from safegen.training.sticker.sources import fetch
from safegen.training.sticker.world import sticker_world

POOL_COPIES, JUDGE_COPIES, HELD_OUT_COPIES = 16, 10, 2
POOL_SEED, JUDGE_SEED, HELD_OUT_SEED = 1, 7, 99


class Recipe:
    """The steps, each from the results of those before it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.world = sticker_world()
        self.emoji = fetch("keywords", folder)
        self.captions = Captions(self.world, keywords(self.world, self.emoji))
        self._drawings: Drawings | None = None

    def drawings(self) -> Drawings:
        """Each concept in each emoji set."""
        if self._drawings is None:
            path = self.folder / "drawings.npz"
            if not path.is_file():
                sets = {name: fetch(name, self.folder) for name in sorted({s.source for s in self.world.styles})}
                np.savez(path, **rasterise_all(self.world, sets))  # type: ignore[arg-type] # numpy's stub wants a flag
            self._drawings = dict(np.load(path))
        return self._drawings

    def pool(self, name: str, copies: int, seed: int) -> Pool:
        """A set of rendered pictures, kept in a file."""
        path = self.folder / f"{name}.npz"
        if not path.is_file():
            rendered = render_pool(self.world, self.drawings(), copies, seed)
            np.savez(path, pictures=rendered.pictures, labels=rendered.labels)
        kept = np.load(path)
        return Pool(pictures=kept["pictures"], labels=kept["labels"])

    def thumbnails(self) -> NDArray[np.float32]:
        """What each concept looks like from far away: (concepts, 256), standardised."""
        drawings = self.drawings()["noto"].astype(np.float32) / 255
        premultiplied = np.concatenate([drawings[..., :3] * drawings[..., 3:], drawings[..., 3:]], -1)
        small = premultiplied.reshape(len(drawings), 8, 16, 8, 16, 4).mean((2, 4)).reshape(len(drawings), -1)
        standard: NDArray[np.float32] = ((small - small.mean(0)) / (small.std(0) + 0.05)).astype(np.float32)
        return standard

    def latents(self, pool: Pool) -> tuple[torch.Tensor, torch.Tensor]:
        """Posterior means and deviations of the pool, kept in a file."""
        from diffusers import AutoencoderKL

        path = self.folder / "latents.safetensors"
        if not path.is_file():
            mean, deviation = autoencoder.encode(AutoencoderKL.from_pretrained(self.folder / "vae"), pool.pictures)
            save_file({"mean": mean, "deviation": deviation}, path)
        kept = load_file(path)
        return kept["mean"], kept["deviation"]

    def run(self, steps: int) -> None:
        """All of it, to the files in `spm_models`."""
        pool = self.pool("pool", POOL_COPIES, POOL_SEED)
        held_out = self.pool("held", HELD_OUT_COPIES, HELD_OUT_SEED)
        if not (self.folder / "vae").is_dir():
            autoencoder.train(pool.pictures, self.folder)
        if not (self.folder / "tokenizer").is_dir():
            text.train_tokenizer(self.captions, self.emoji, self.folder)
        if not (self.folder / "text_encoder_read").is_dir():
            text.pretrain(self.world, self.captions, self.thumbnails(), self.folder)
        autoencoder.train_decoder(pool.pictures, self.latents(pool), self.folder)
        denoiser.train(self.latents(pool), pool.labels, self.captions, self.folder, steps)
        judged = self._once("judge", lambda: judge.train(self.world, self._judge_pool(), held_out, self.folder))
        reviewed = self._once(
            "reviewer", lambda: reviewer.train(self.world, self.captions, pool, held_out, self.folder)
        )
        registry = export.export_base(self.folder, Registry.open())
        registry = export.export_judge(self.folder, registry, judged)
        export.export_reviewer(self.folder, registry, reviewed).save()

    def _judge_pool(self) -> Pool:
        return self.pool("pool_judge", JUDGE_COPIES, JUDGE_SEED)

    def _once(self, name: str, make: Callable[[], dict[str, float]]) -> dict[str, float]:
        path = self.folder / f"{name}.json"
        if not path.is_file():
            path.write_text(json.dumps(make()), encoding="utf-8")
        measured: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return measured


def main(
    folder: Annotated[Path | None, typer.Option(help="Working folder; in the user's cache by default.")] = None,
    steps: Annotated[int, typer.Option(help="Updates of the denoiser.")] = denoiser.STEPS,
    threads: Annotated[int, typer.Option(help="Processor threads to train with.")] = 2,
) -> None:
    """Make the sticker base, its reviewer and its judge; resumes what was killed."""
    torch.set_num_threads(threads)
    Recipe(folder or user_cache_path("safegen") / "sticker-base").run(steps)


if __name__ == "__main__":
    typer.run(main)
