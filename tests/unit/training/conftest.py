"""A tiny denoiser and text encoder with random weights, behind the protocol of trainable bases."""

from __future__ import annotations

import pytest
import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from safegen.models import TextReading, TrainableModel
from safegen.models.stable_diffusion import unet_targets
from safegen.training.recipe import Recipe

TOKENS = 6


class TinyBase:
    family = "sd1"
    digest = "sha256:" + "0" * 64
    size = 16

    def __init__(self) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(7)
            text = CLIPTextConfig(
                vocab_size=64, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
                max_position_embeddings=TOKENS, bos_token_id=62, eos_token_id=63, pad_token_id=63,
            )  # fmt: skip
            self.text = CLIPTextModel(text).eval().requires_grad_(False)
            self.unet = UNet2DConditionModel(
                sample_size=4, in_channels=2, out_channels=2, block_out_channels=(8, 16), layers_per_block=1,
                down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), norm_num_groups=4,
                up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), cross_attention_dim=16, attention_head_dim=2,
            )  # fmt: skip
            self.unet.eval().requires_grad_(False)
        self.scheduler = DDIMScheduler(prediction_type="v_prediction", clip_sample=False)

    def targets(self):
        return unet_targets(self.unet)

    @torch.no_grad()
    def encode(self, texts):
        rows = [[62, *(hash_word(word) for word in text.split())][: TOKENS - 1] for text in texts]
        ids = torch.tensor([row + [63] * (TOKENS - len(row)) for row in rows])
        return self.text(input_ids=ids).last_hidden_state

    def read(self, texts, *, padding=True):
        tokens = [tuple(hash_word(word) for word in text.split()) for text in texts]
        rows = zip(tokens, self.encode(texts), strict=True)
        return [TextReading(states, ids[: TOKENS - 2], len(ids) > TOKENS - 2) for ids, states in rows]

    def noise(self, count, generator):
        return torch.randn(count, 2, 4, 4, generator=generator)

    def timesteps(self, steps):
        self.scheduler.set_timesteps(steps)
        return [int(timestep) for timestep in self.scheduler.timesteps]

    def predict(self, latents, timestep, states):
        return self.unet(latents, timestep, states).sample

    def step(self, prediction, timestep, latents):
        return self.scheduler.step(prediction, timestep, latents).prev_sample


def hash_word(word: str) -> int:
    return sum(map(ord, word)) % 60


@pytest.fixture
def base() -> TrainableModel:
    return TinyBase()


@pytest.fixture
def recipe() -> Recipe:
    return Recipe.model_validate(
        {
            "id": "tiny/cat",
            "concept": "cat",
            "category": "object",
            "method": "loop",
            "phrases": ["cat", "kitten"],
            "targets": ["{phrase} by {style}"],
            "surrogate": "dog by {style}",
            "anchors": ["{thing} by {style}"],
            "words": {"style": ["ann", "bob"], "thing": ["cat", "dog", "cats", "owl"]},
            "steps": 7,
            "batch": 2,
            "rollout": {"steps": 4, "uses": 2},
        }
    )
