"""Trains the AutoencoderKL: 64 x 64 pictures to latents (4, 16, 16) and back.

Invariant: after `whiten`, every latent channel has mean 0 and standard deviation 1 over the pool, so that
`scaling_factor` is 1 and the denoiser sees unit variance.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import structlog
import torch
from numpy.typing import NDArray
from PIL import Image

from safegen.training.sticker.running import Run, Schedule

_log = structlog.get_logger("safegen.training")
STEPS = 4000
BATCH = 8
DECODER_STEPS = 5000
_LATENT_ERROR = 0.1
"""Standard deviation, at most, of what the decoder learns to overlook: drawn latents are never quite right."""


def build() -> Any:
    """A fresh autoencoder of 0.65 million parameters."""
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(16, 32, 64),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=64,
        mid_block_add_attention=False,
        force_upcast=False,
        scaling_factor=1.0,
    )


def to_tensor(pictures: NDArray[np.uint8]) -> torch.Tensor:
    """Pictures (n, 64, 64, 3) uint8 as (n, 3, 64, 64) float32 in -1..1."""
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1


def train(pictures: NDArray[np.uint8], folder: Path, steps: int = STEPS) -> None:
    """Train on the pool, whiten, and save to `folder/vae`; resumes from `folder/vae.safetensors`."""
    torch.manual_seed(0)
    vae = build()
    optimiser = torch.optim.AdamW(vae.parameters(), 2e-3, betas=(0.9, 0.99), weight_decay=1e-4, fused=True)
    run = Run(folder / "vae.safetensors", {"vae": vae}, optimiser, Schedule(2e-3, steps, flat=0.1), seed=1)

    def loss_of(generator: torch.Generator, _: int) -> torch.Tensor:
        rows = torch.randint(0, len(pictures), (BATCH,), generator=generator)
        return _loss(vae, to_tensor(pictures[rows.numpy()]), generator)

    average = run.averages["vae"].shadow
    run.go(loss_of, title="autoencoder", preview=lambda step: _preview(average, pictures, folder, step))
    mean, deviation = latent_statistics(average, pictures[:: max(1, len(pictures) // 4000)])
    whiten(average, mean, deviation)
    average.save_pretrained(folder / "vae")


def train_decoder(
    pictures: NDArray[np.uint8], latents: tuple[torch.Tensor, torch.Tensor], folder: Path, steps: int = DECODER_STEPS
) -> None:
    """Train the decoder of `folder/vae` further and save it there; the encoder, and so every latent, stays as it is.

    Args:
        pictures: the pool, (n, 64, 64, 3).
        latents: mean and standard deviation of each picture's posterior, (n, 4, 16, 16) each.
        folder: the recipe's working folder; resumes from `decoder.safetensors` in it.
        steps: updates to make.
    """
    from diffusers import AutoencoderKL

    torch.manual_seed(0)
    vae = AutoencoderKL.from_pretrained(folder / "vae")
    decoder = torch.nn.ModuleDict({"post_quant_conv": vae.post_quant_conv, "decoder": vae.decoder})
    optimiser = torch.optim.AdamW(decoder.parameters(), 1e-3, betas=(0.9, 0.99), weight_decay=1e-4, fused=True)
    run = Run(folder / "decoder.safetensors", {"decoder": decoder}, optimiser, Schedule(1e-3, steps, flat=0.2), seed=4)
    mean, deviation = latents

    def loss_of(generator: torch.Generator, _: int) -> torch.Tensor:
        rows = torch.randint(0, len(pictures), (BATCH,), generator=generator)
        error = _LATENT_ERROR * torch.rand(BATCH, 1, 1, 1, generator=generator)
        noise, wrong = torch.randn(2, BATCH, *mean.shape[1:], generator=generator)
        given = mean[rows] + deviation[rows] * noise + error * wrong
        return _picture_loss(vae.decode(given).sample, to_tensor(pictures[rows.numpy()]))

    run.go(loss_of, title="decoder")
    decoder.load_state_dict(run.averages["decoder"].shadow.state_dict())
    _preview(vae, pictures, folder, steps)
    vae.save_pretrained(folder / "vae")


def _picture_loss(rebuilt: torch.Tensor, pictures: torch.Tensor) -> torch.Tensor:
    """L1 + MSE + half the L1 of the gradients (for sharp lines)."""
    error = rebuilt - pictures
    slopes = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
    return error.abs().mean() + error.pow(2).mean() + 0.5 * slopes


def _loss(vae: Any, pictures: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Error of the picture, and a faint KL."""
    posterior = vae.encode(pictures).latent_dist
    rebuilt = vae.decode(posterior.sample(generator)).sample
    kl: torch.Tensor = 0.5 * (posterior.mean**2 + posterior.var - 1 - posterior.logvar).mean()
    return _picture_loss(rebuilt, pictures) + 2e-4 * kl


@torch.no_grad()
def encode(vae: Any, pictures: NDArray[np.uint8], batch: int = 128) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of the posterior, each (n, 4, 16, 16) float32."""
    parts = [vae.encode(to_tensor(pictures[row : row + batch])).latent_dist for row in range(0, len(pictures), batch)]
    return torch.cat([part.mean for part in parts]), torch.cat([part.std for part in parts])


def latent_statistics(vae: Any, pictures: NDArray[np.uint8]) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of each latent channel over the pictures, each (4,)."""
    latents, _ = encode(vae, pictures)
    return latents.mean((0, 2, 3)), latents.std((0, 2, 3))


@torch.no_grad()
def whiten(vae: Any, mean: torch.Tensor, deviation: torch.Tensor) -> None:
    """Fold z -> (z - mean) / deviation into the quantisation convolutions, exactly."""
    channels = len(mean)
    before, after = vae.quant_conv, vae.post_quant_conv
    before.weight[:channels] /= deviation.view(-1, 1, 1, 1)
    before.bias[:channels] = (before.bias[:channels] - mean) / deviation
    before.bias[channels:] -= 2 * deviation.log()
    after.bias += after.weight[:, :, 0, 0] @ mean
    after.weight *= deviation.view(1, -1, 1, 1)


@torch.no_grad()
def _preview(vae: Any, pictures: NDArray[np.uint8], folder: Path, step: int) -> None:
    rows = np.linspace(0, len(pictures) - 1, 24).astype(int)
    originals = to_tensor(pictures[rows])
    rebuilt = vae.decode(vae.encode(originals).latent_dist.mean).sample.clamp(-1, 1)
    psnr = 10 * torch.log10(4 / (rebuilt - originals).pow(2).mean())
    _log.info("preview", run="autoencoder", step=step, psnr_db=round(float(psnr), 2))
    grid = torch.cat([torch.cat(list(originals), 2), torch.cat(list(rebuilt), 2)], 1)
    pixels = ((grid.permute(1, 2, 0) + 1) * 127.5).round().byte().numpy()
    (folder / "previews").mkdir(exist_ok=True)
    Image.fromarray(pixels).save(folder / "previews" / f"vae-{step:06d}.png")
