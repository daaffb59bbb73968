"""Small base models of every family, with random weights, built from configurations: nothing is fetched.

CLIP texts are read with the shipped base's tokenizer; T5's is a word list made here.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    T5Config,
    T5EncoderModel,
    T5TokenizerFast,
)

from safegen.data import data_folder
from safegen.models.mmdit import Flux, StableDiffusion3
from safegen.models.pipeline import PipelineModel
from safegen.models.stable_diffusion import StableDiffusion
from safegen.models.stable_diffusion_xl import StableDiffusionXL

WIDTH = 16
DIGEST = "sha256:" + "0" * 64
WORDS = ("cat", "dog", "a", "of", "picture", "the")


@cache
def tokenizer() -> CLIPTokenizer:
    return CLIPTokenizer.from_pretrained(data_folder("spm_models") / "bases/sticker/tokenizer")


def clip(*, width: int = WIDTH, projection: int | None = None) -> Any:
    reader = tokenizer()
    config = CLIPTextConfig(
        vocab_size=len(reader), hidden_size=width, intermediate_size=2 * width, num_hidden_layers=2,
        num_attention_heads=2, max_position_embeddings=reader.model_max_length, projection_dim=projection or width,
        bos_token_id=reader.bos_token_id, eos_token_id=reader.eos_token_id, pad_token_id=reader.pad_token_id,
    )  # fmt: skip
    return (CLIPTextModel(config) if projection is None else CLIPTextModelWithProjection(config)).eval()


def t5(width: int = WIDTH) -> dict[str, Any]:
    words = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *((f"▁{word}", -1.0) for word in WORDS)]
    config = T5Config(
        vocab_size=200, d_model=width, d_kv=8, d_ff=2 * width, num_layers=1, num_heads=2, feed_forward_proj="gated-gelu"
    )
    return {"tokenizer": T5TokenizerFast(vocab=words), "encoder": T5EncoderModel(config).eval()}


def autoencoder() -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(8, 8), down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2, latent_channels=4, norm_num_groups=4, sample_size=16,
        shift_factor=0.1,
    ).eval()  # fmt: skip


def unet(**changes: Any) -> UNet2DConditionModel:
    settings: dict[str, Any] = {
        "sample_size": 8, "block_out_channels": (8, 16), "layers_per_block": 1, "norm_num_groups": 4,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "cross_attention_dim": WIDTH, "attention_head_dim": 2,
    }  # fmt: skip
    return UNet2DConditionModel(**{**settings, **changes}).eval()


def sd1(**changes: Any) -> StableDiffusion:
    return StableDiffusion(_stable_diffusion(unet(**changes), "epsilon"), digest=DIGEST)


def sd2() -> StableDiffusion:
    return StableDiffusion(_stable_diffusion(unet(use_linear_projection=True), "v_prediction"), digest=DIGEST)


def _stable_diffusion(denoiser: UNet2DConditionModel, predicts: str) -> StableDiffusionPipeline:
    return StableDiffusionPipeline(
        vae=autoencoder(), text_encoder=clip(), tokenizer=tokenizer(), unet=denoiser,
        scheduler=DDIMScheduler(prediction_type=predicts, clip_sample=False, steps_offset=1), safety_checker=None,
        feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip


def sdxl() -> StableDiffusionXL:
    denoiser = unet(
        cross_attention_dim=2 * WIDTH, transformer_layers_per_block=(1, 2), use_linear_projection=True,
        addition_embed_type="text_time", addition_time_embed_dim=8, projection_class_embeddings_input_dim=6 * 8 + 24,
    )  # fmt: skip
    pipeline = StableDiffusionXLPipeline(
        vae=autoencoder(), text_encoder=clip(), text_encoder_2=clip(projection=24), tokenizer=tokenizer(),
        tokenizer_2=tokenizer(), unet=denoiser, scheduler=DDIMScheduler(clip_sample=False, steps_offset=1),
        add_watermarker=False,
    )  # fmt: skip
    return StableDiffusionXL(pipeline, digest=DIGEST)


def sd3() -> StableDiffusion3:
    third = t5(2 * WIDTH)
    transformer = SD3Transformer2DModel(
        sample_size=8, patch_size=2, in_channels=4, out_channels=4, num_layers=2, attention_head_dim=8,
        num_attention_heads=2, joint_attention_dim=2 * WIDTH, caption_projection_dim=16,
        pooled_projection_dim=2 * WIDTH, pos_embed_max_size=16,
    )  # fmt: skip
    pipeline = StableDiffusion3Pipeline(
        transformer=transformer.eval(), scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0), vae=autoencoder(),
        text_encoder=clip(projection=WIDTH), tokenizer=tokenizer(), text_encoder_2=clip(projection=WIDTH),
        tokenizer_2=tokenizer(), text_encoder_3=third["encoder"], tokenizer_3=third["tokenizer"],
    )  # fmt: skip
    return StableDiffusion3(pipeline, digest=DIGEST)


def flux(*, guidance_embeds: bool = True) -> Flux:
    second = t5(2 * WIDTH)
    transformer = FluxTransformer2DModel(
        patch_size=1, in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=8, num_attention_heads=2,
        joint_attention_dim=2 * WIDTH, pooled_projection_dim=WIDTH, axes_dims_rope=(4, 2, 2),
        guidance_embeds=guidance_embeds,
    )  # fmt: skip
    pipeline = FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True), vae=autoencoder(), text_encoder=clip(),
        tokenizer=tokenizer(), text_encoder_2=second["encoder"], tokenizer_2=second["tokenizer"],
        transformer=transformer.eval(),
    )  # fmt: skip
    pipeline.default_sample_size = 8
    return Flux(pipeline, digest=DIGEST)


BUILDERS: dict[str, Callable[[], PipelineModel]] = {"sd1": sd1, "sd2": sd2, "sdxl": sdxl, "sd3": sd3, "flux": flux}


@cache
def family_model(family: str) -> PipelineModel:
    """The small model of a family, the same for the whole process; whoever alters it puts it back."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = BUILDERS[family]()
        model.pipeline.set_progress_bar_config(disable=True)
    return model
