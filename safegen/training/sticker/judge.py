"""Trains the independent judge: a ConvNeXt that names concept and style, used only to measure.

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
from safetensors.torch import save_file

from safegen.training.sticker.autoencoder import to_tensor
from safegen.training.sticker.pool import Pool
from safegen.training.sticker.running import Run, Schedule
from safegen.training.sticker.world import World

STEPS = 3800
BATCH = 64
ARCHITECTURE: dict[str, Any] = {
    "dims": [32, 64, 128, 192],
    "depths": [1, 1, 3, 1],
    "stem_type": "patch",
    "patch_size": 2,
    "kernel_sizes": 5,
}


def train(world: World, pool: Pool, held_out: Pool, folder: Path, steps: int = STEPS) -> dict[str, float]:
    """Train; save to `folder/judge` in half precision; resumes from `folder/judge.safetensors`.

    Beside the weights go the features of the held-out renders, for distances to generated pictures.

    Returns:
        Accuracy on the held-out renders: `concept` and `style`, in 0..1.
    """
    from timm.models.convnext import ConvNeXt

    torch.manual_seed(7)
    concepts = [concept.name for concept in world.concepts] + [memorised.title for memorised in world.memorised]
    styles = [style.name for style in world.styles]
    model = ConvNeXt(num_classes=len(concepts) + len(styles), **ARCHITECTURE)
    optimiser = torch.optim.AdamW(model.parameters(), 2e-3, betas=(0.9, 0.99), weight_decay=0.05, fused=True)
    run = Run(folder / "judge.safetensors", {"judge": model}, optimiser, Schedule(2e-3, steps), seed=7)
    targets = [torch.from_numpy(column) for column in _targets(pool, len(world.concepts))]

    def loss_of(generator: torch.Generator, _: int) -> torch.Tensor:
        rows = torch.randint(0, len(pool.pictures), (BATCH,), generator=generator)
        logits = model(disturb(to_tensor(pool.pictures[rows.numpy()]), generator))
        concept = F.cross_entropy(logits[:, : len(concepts)], targets[0][rows], label_smoothing=0.05)
        styled = targets[1][rows] >= 0
        style = F.cross_entropy(logits[styled, len(concepts) :], targets[1][rows][styled], label_smoothing=0.05)
        return concept + style

    run.go(loss_of, title="judge")
    final = run.averages["judge"].shadow.half()
    output = folder / "judge"
    output.mkdir(exist_ok=True)
    save_file({name: value.contiguous() for name, value in final.state_dict().items()}, output / "model.safetensors")
    final = final.float()
    features = _features(final, held_out.pictures[held_out.labels[:, 0] >= 0])
    save_file({"features": features.half().contiguous()}, output / "held_out.safetensors")
    config = {"architecture": ARCHITECTURE, "concepts": concepts, "styles": styles, "size": 64}
    (output / "config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")
    return measure(final, held_out, len(concepts), len(world.concepts))


def _targets(pool: Pool, concepts: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    labels = pool.labels.astype(np.int64)
    return np.where(labels[:, 0] < 0, concepts - 1 - labels[:, 0], labels[:, 0]), labels[:, 1]


def disturb(pictures: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Shift, tint, soften and cover parts of pictures (n, 3, 64, 64) in -1..1, as imperfect drawings are."""
    count = len(pictures)

    def draw(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=generator)

    shift = torch.randint(-3, 4, (2,), generator=generator).tolist()
    pictures = torch.roll(pictures, shift, (2, 3))
    pictures = pictures * (0.85 + 0.3 * draw(count, 1, 1, 1)) + 0.2 * (draw(count, 3, 1, 1) - 0.5)
    soft = F.avg_pool2d(F.pad(pictures, (1, 1, 1, 1), mode="replicate"), 3, 1)
    amount = draw(count, 1, 1, 1) * 0.6
    pictures = pictures * (1 - amount) + soft * amount
    pictures = pictures + 0.12 * draw(count, 1, 1, 1) * torch.randn(pictures.shape, generator=generator)
    side = int(torch.randint(4, 22, (1,), generator=generator))
    top, left = torch.randint(0, 64 - side, (2,), generator=generator).tolist()
    pictures[: count // 2, :, top : top + side, left : left + side] = 0
    return pictures.clamp(-1.2, 1.2)


@torch.no_grad()
def _features(model: Any, pictures: NDArray[np.uint8]) -> torch.Tensor:
    """What the last layer reads of pictures (n, 64, 64, 3): (n, width)."""
    seen = [model.forward_features(to_tensor(pictures[row : row + 128])) for row in range(0, len(pictures), 128)]
    read: torch.Tensor = model.forward_head(torch.cat(seen), pre_logits=True)
    return read


@torch.no_grad()
def measure(model: Any, pool: Pool, concepts: int, drawn: int) -> dict[str, float]:
    """Accuracy of concept and style on a pool, in 0..1."""
    concept, style = _targets(pool, drawn)
    logits = torch.cat([model(to_tensor(pool.pictures[row : row + 128])) for row in range(0, len(concept), 128)])
    named = logits[:, :concepts].argmax(1).numpy() == concept
    styled = logits[:, concepts:].argmax(1).numpy() == style
    return {"concept": float(named.mean()), "style": float(styled[style >= 0].mean())}
