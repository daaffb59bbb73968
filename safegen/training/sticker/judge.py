"""Trains the independent judge, used only to measure: its ConvNeXt first, then its shallow texture network.

Invariant: it shares nothing with base or reviewer but the drawings: another architecture, other renders, other
disturbances, no text.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save_file

from safegen.evaluation.judge import Judge
from safegen.evaluation.judge_network import JudgeNetwork
from safegen.training.sticker.autoencoder import to_tensor
from safegen.training.sticker.pool import Pool
from safegen.training.sticker.running import Run, Schedule
from safegen.training.sticker.world import World

STEPS = 3800
TEXTURE_STEPS = 1500
BATCH = 64
ARCHITECTURE: dict[str, Any] = {
    "dims": [32, 64, 128, 192],
    "depths": [1, 1, 3, 1],
    "stem_type": "patch",
    "patch_size": 2,
    "kernel_sizes": 5,
}


def train(world: World, pool: Pool, held_out: Pool, folder: Path) -> dict[str, float]:
    """Train; save to `folder/judge` in half precision; resumes from the checkpoints `judge` and `texture` in `folder`.

    Beside the weights go the features of the held-out renders, for distances to generated pictures.

    Returns:
        Accuracy on the held-out renders: `concept` and `style`, in 0..1.
    """
    torch.manual_seed(7)
    concepts = [concept.name for concept in world.concepts] + [memorised.title for memorised in world.memorised]
    styles = [style.name for style in world.styles]
    network = JudgeNetwork(len(concepts), len(styles), ARCHITECTURE)
    network.content = _train_content(network.content, pool, len(world.concepts), len(concepts), folder)
    network.texture = _train_texture(network.texture, pool, folder)
    network.half()
    output = folder / "judge"
    output.mkdir(exist_ok=True)
    weights = {name: value.contiguous() for name, value in network.state_dict().items()}
    save_file(weights, output / "model.safetensors")
    config = {"architecture": ARCHITECTURE, "concepts": concepts, "styles": styles, "size": 64}
    (output / "config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")
    judge = Judge.load(output)
    pictures = [Image.fromarray(picture) for picture in held_out.pictures]
    drawn = [picture for picture, concept in zip(pictures, held_out.labels[:, 0], strict=True) if concept >= 0]
    save_file({"features": judge.features(drawn).half().contiguous()}, output / "held_out.safetensors")
    return measure(judge, pictures, _targets(held_out, len(world.concepts)))


def _train_content(model: Any, pool: Pool, drawn: int, concepts: int, folder: Path) -> Any:
    optimiser = torch.optim.AdamW(model.parameters(), 2e-3, betas=(0.9, 0.99), weight_decay=0.05, fused=True)
    run = Run(folder / "judge.safetensors", {"judge": model}, optimiser, Schedule(2e-3, STEPS), seed=7)
    named, looks = (torch.from_numpy(column) for column in _targets(pool, drawn))

    def loss_of(generator: torch.Generator, _: int) -> torch.Tensor:
        rows = torch.randint(0, len(pool.pictures), (BATCH,), generator=generator)
        logits = model(disturb(to_tensor(pool.pictures[rows.numpy()]), generator))
        concept = F.cross_entropy(logits[:, :concepts], named[rows], label_smoothing=0.05)
        styled = looks[rows] >= 0
        return concept + F.cross_entropy(logits[styled, concepts:], looks[rows][styled], label_smoothing=0.05)

    run.go(loss_of, title="judge")
    return run.averages["judge"].shadow


def _train_texture(model: Any, pool: Pool, folder: Path) -> Any:
    optimiser = torch.optim.AdamW(model.parameters(), 3e-3, weight_decay=0.05, fused=True)
    schedule = Schedule(3e-3, TEXTURE_STEPS, warm_up=50, flat=0.0)
    run = Run(folder / "texture.safetensors", {"texture": model}, optimiser, schedule, seed=8)
    drawn = np.flatnonzero(pool.labels[:, 0] >= 0)
    looks = torch.from_numpy(pool.labels[drawn, 1].astype(np.int64))

    def loss_of(generator: torch.Generator, _: int) -> torch.Tensor:
        rows = torch.randint(0, len(drawn), (BATCH,), generator=generator)
        pictures = to_tensor(pool.pictures[drawn[rows.numpy()]])
        return F.cross_entropy(model(disturb(pictures, generator, strength=0.5)), looks[rows])

    run.go(loss_of, title="judge's texture")
    return run.averages["texture"].shadow


def _targets(pool: Pool, drawn: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices of concept and style (-1 for none); memorised titles come after the `drawn` concepts."""
    labels = pool.labels.astype(np.int64)
    return np.where(labels[:, 0] < 0, drawn - 1 - labels[:, 0], labels[:, 0]), labels[:, 1]


def disturb(pictures: torch.Tensor, generator: torch.Generator, strength: float = 1.0) -> torch.Tensor:
    """Shift, tint, soften and cover parts of pictures (n, 3, 64, 64) in -1..1, as imperfect drawings are."""
    count = len(pictures)

    def draw(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=generator)

    shift = torch.randint(-3, 4, (2,), generator=generator).tolist()
    pictures = torch.roll(pictures, shift, (2, 3))
    pictures = pictures * (0.85 + 0.3 * draw(count, 1, 1, 1)) + 0.2 * strength * (draw(count, 3, 1, 1) - 0.5)
    soft = F.avg_pool2d(F.pad(pictures, (1, 1, 1, 1), mode="replicate"), 3, 1)
    amount = draw(count, 1, 1, 1) * 0.6
    pictures = pictures * (1 - amount) + soft * amount
    pictures = pictures + 0.12 * strength * draw(count, 1, 1, 1) * torch.randn(pictures.shape, generator=generator)
    side = int(torch.randint(4, 22, (1,), generator=generator))
    top, left = torch.randint(0, 64 - side, (2,), generator=generator).tolist()
    pictures[: int(count * strength / 2), :, top : top + side, left : left + side] = 0
    return pictures.clamp(-1.2, 1.2)


def measure(
    judge: Judge, pictures: list[Image.Image], targets: tuple[NDArray[np.int64], NDArray[np.int64]]
) -> dict[str, float]:
    """Accuracy of concept and style on pictures with these indices (a style of -1 is none), in 0..1."""
    concept, style = targets
    seen = judge.judge(pictures)
    named = np.array(seen.concepts) == np.array(judge.concepts)[concept]
    styled = (np.array(seen.styles) == np.array(judge.styles)[style])[style >= 0]
    return {"concept": float(named.mean()), "style": float(styled.mean())}
