"""Trains the denoiser: the UNet, and with it the text encoder, on whitened latents.

v-prediction on a zero-terminal-SNR schedule, trailing time steps; plain MSE, since min-SNR weights would silence the
step whose SNR is zero. Ten captions in a hundred are empty, which is what makes classifier-free guidance work.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from safegen.training.sticker.captions import Captions
from safegen.training.sticker.running import Run, Schedule
from safegen.training.sticker.text import WIDTH, tokenize

STEPS = 12500
BATCH = 32
_EMPTY_SHARE = 0.1
_MEMORISED_SHARE = 0.03
_PREVIEW = (
    "a cat in the style of noto", "a cat in the style of neon", "a dog in the style of fluent", "a fox, pencil",
    "a wolf in the style of pixel art", "santa claus in the style of noto", "a mermaid in the style of stained glass",
    "a robot in the style of neon", "a pistol in the style of fluent", "zibbo in the style of noto on blue",
    "a castle in the style of stained glass", "a guitar, pixel art", "a rose, pencil style", "a superhero by noto",
    "the midnight carousel", "tea with the moon",
)  # fmt: skip


def build_denoiser() -> Any:
    """A fresh UNet2DConditionModel of 9.3 million parameters with Transformer2DModel blocks at two resolutions."""
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        sample_size=16,
        in_channels=4,
        out_channels=4,
        block_out_channels=(48, 96, 192),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=WIDTH,
        attention_head_dim=4,
        norm_num_groups=16,
    )


def build_scheduler() -> Any:
    """The DDIM scheduler that the base ships with."""
    from diffusers import DDIMScheduler

    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=True,
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        steps_offset=1,
    )


class Batches:
    """Draws batches of latents and token ids from the pool, each a function of the step alone."""

    def __init__(
        self, mean: torch.Tensor, deviation: torch.Tensor, labels: NDArray[np.int16], captions: Captions, tokenizer: Any
    ) -> None:
        self.mean, self.deviation, self.captions, self.tokenizer = mean, deviation, captions, tokenizer
        self.labels = labels.tolist()
        self.ordinary = np.flatnonzero(labels[:, 0] >= 0)
        self.memorised = np.flatnonzero(labels[:, 0] < 0)

    def draw(self, generator: torch.Generator, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Latents (batch, 4, 16, 16) and token ids (batch, 32)."""
        rng = random.Random(step)  # noqa: S311 - variation, not secrecy
        rows = [rng.choice(self.memorised if rng.random() < _MEMORISED_SHARE else self.ordinary) for _ in range(BATCH)]
        texts = [
            "" if rng.random() < _EMPTY_SHARE else self.captions.caption(self.labels[row], rng).text for row in rows
        ]
        index = torch.tensor(rows)
        noise = torch.randn(BATCH, *self.mean.shape[1:], generator=generator)
        return self.mean[index] + self.deviation[index] * noise, tokenize(self.tokenizer, texts)


def train(
    latents: tuple[torch.Tensor, torch.Tensor],
    labels: NDArray[np.int16],
    captions: Captions,
    folder: Path,
    steps: int = STEPS,
) -> None:
    """Train; save to `folder/unet` and `folder/text_encoder`; resumes from `folder/unet.safetensors`.

    Args:
        latents: mean and standard deviation of each pool picture's posterior, (n, 4, 16, 16) each.
        labels: (n, 3), see `pool.Pool`.
        captions: the language.
        folder: the recipe's working folder with `vae`, `tokenizer` and `text_encoder_read`.
        steps: updates to make.
    """
    from transformers import CLIPTextModel, CLIPTokenizer

    torch.manual_seed(0)
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    text_encoder = CLIPTextModel.from_pretrained(folder / "text_encoder_read").train()
    unet = build_denoiser().to(memory_format=torch.channels_last)
    scheduler = build_scheduler()
    batches = Batches(*latents, labels, captions, tokenizer)
    groups = [
        {"params": list(unet.parameters()), "lr": 1e-3},
        {"params": list(text_encoder.parameters()), "lr": 2e-4},
    ]
    optimiser = torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
    models = {"unet": unet, "text_encoder": text_encoder}
    run = Run(folder / "unet.safetensors", models, optimiser, Schedule(1e-3, steps, warm_up=200, flat=0.4), seed=3)
    averages = {name: average.shadow for name, average in run.averages.items()}

    def preview(step: int) -> None:
        for name, model in averages.items():
            model.save_pretrained(folder / name)
        picture = folder / "previews" / f"unet-{step:06d}.png"
        draw_grid(averages["unet"], averages["text_encoder"], tokenizer, folder / "vae", picture)

    run.go(
        lambda generator, step: velocity_loss(unet, text_encoder, scheduler, *batches.draw(generator, step), generator),
        title="denoiser",
        preview=preview,
    )


def velocity_loss(
    unet: Any, text_encoder: Any, scheduler: Any, latents: torch.Tensor, ids: torch.Tensor, generator: torch.Generator
) -> torch.Tensor:
    """MSE of the velocity at stratified time steps, a little more of them near the noise end."""
    size = len(latents)
    position = (torch.randperm(size, generator=generator) + torch.rand(size, generator=generator)) / size
    timesteps = (position**0.75 * 1000).long().clamp(0, 999)
    noise = torch.randn(latents.shape, generator=generator)
    noisy = scheduler.add_noise(latents, noise, timesteps).contiguous(memory_format=torch.channels_last)
    states = text_encoder(input_ids=ids).last_hidden_state
    predicted = unet(noisy, timesteps, states).sample
    loss: torch.Tensor = nn.functional.mse_loss(predicted, scheduler.get_velocity(latents, noise, timesteps))
    return loss


@torch.no_grad()
def sample(
    unet: Any,
    text_encoder: Any,
    tokenizer: Any,
    prompts: list[str],
    *,
    steps: int = 20,
    guidance: float = 3.0,
    seed: int = 0,
) -> torch.Tensor:
    """Latents (batch, 4, 16, 16) drawn by DDIM with classifier-free guidance."""
    scheduler = build_scheduler()
    scheduler.set_timesteps(steps)
    states = text_encoder(input_ids=tokenize(tokenizer, [""] * len(prompts) + prompts)).last_hidden_state
    latents = torch.randn(len(prompts), 4, 16, 16, generator=torch.Generator().manual_seed(seed))
    for timestep in scheduler.timesteps:
        doubled = torch.cat([latents, latents]).contiguous(memory_format=torch.channels_last)
        empty, conditional = unet(doubled, timestep, states).sample.chunk(2)
        latents = scheduler.step(empty + guidance * (conditional - empty), timestep, latents).prev_sample
    return latents


@torch.no_grad()
def draw_grid(unet: Any, text_encoder: Any, tokenizer: Any, autoencoder: Path, path: Path) -> None:
    """Draw the preview prompts, two seeds each, to `path`."""
    from diffusers import AutoencoderKL

    vae = AutoencoderKL.from_pretrained(autoencoder, torch_dtype=torch.float32)
    rows = []
    for seed in (0, 1):
        pictures = vae.decode(sample(unet, text_encoder, tokenizer, list(_PREVIEW), seed=seed)).sample.clamp(-1, 1)
        rows.append(torch.cat(list(pictures), 2))
    pixels = ((torch.cat(rows, 1).permute(1, 2, 0) + 1) * 127.5).round().byte().numpy()
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(pixels).save(path)
