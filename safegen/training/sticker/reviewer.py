"""Trains the sticker reviewer: a small CLIP in open_clip's own format.

A ModifiedResNet looks, the text encoder that learnt to read speaks; both are trained on. Each caption is held against
every picture of the batch that it is true of, not its own alone. Invariants: open_clip opens the folder as it is; the
tokenizer gives the ids that CLIPTokenizer gives up to end-of-text.
"""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import save_file

from safegen.training.sticker.autoencoder import to_tensor
from safegen.training.sticker.captions import Caption, Captions, with_article
from safegen.training.sticker.judge import disturb
from safegen.training.sticker.pool import Pool
from safegen.training.sticker.running import Run, Schedule
from safegen.training.sticker.text import LENGTH, VOCABULARY, WIDTH, tokenize
from safegen.training.sticker.world import World

STEPS = 2200
BATCH = 96
MEAN = (0.48145466, 0.4578275, 0.40821073)
DEVIATION = (0.26862954, 0.26130258, 0.27577711)
MODEL = {
    "embed_dim": WIDTH,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 64, "layers": [1, 2, 2, 1], "width": 20, "head_width": 64, "patch_size": None},
    "text_cfg": {"context_length": LENGTH, "vocab_size": VOCABULARY, "width": WIDTH, "heads": 4, "layers": 3},
}
_STYLES = ("noto", "fluent", "pencil", "neon", "pixel art", "stained glass")
TEMPLATES = {
    "concept": ["{}", "a picture of {}", *(f"{{}} in the style of {style}" for style in _STYLES)],
    "style": ["a picture in the style of {}", "{} style", "something in the style of {}"],
    "memorised": ["{}", "a picture of {}"],
}


def train(
    world: World, captions: Captions, pool: Pool, held_out: Pool, folder: Path, steps: int = STEPS
) -> dict[str, float]:
    """Train; save to `folder/reviewer`; resumes from `folder/reviewer.safetensors`.

    Returns:
        Zero-shot accuracy on the held-out renders, by prompts alone: `concept` and `style`, in 0..1.
    """
    from transformers import CLIPTokenizer

    torch.manual_seed(5)
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    model = build(folder / "text_encoder_read")
    groups = [
        {"params": list(model.visual.parameters()), "lr": 2e-3},
        {"params": [value for name, value in model.named_parameters() if not name.startswith("visual.")], "lr": 4e-4},
    ]
    optimiser = torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=0.02, fused=True)
    run = Run(folder / "reviewer.safetensors", {"clip": model}, optimiser, Schedule(2e-3, steps, flat=0.2), seed=5)
    labels = torch.from_numpy(pool.labels.astype(np.int64))

    def loss_of(generator: torch.Generator, step: int) -> torch.Tensor:
        rng = random.Random(step + 10_000_000)  # noqa: S311 - variation, not secrecy
        rows = torch.randint(0, len(pool.pictures), (BATCH,), generator=generator)
        told = [captions.caption(label, rng) for label in labels[rows].tolist()]
        pictures = normalise(disturb(to_tensor(pool.pictures[rows.numpy()]), generator))
        ids = tokenize(tokenizer, [each.text for each in told])
        looks, texts = model.encode_image(pictures, normalize=True), model.encode_text(ids, normalize=True)
        return contrastive_loss(looks, texts, model.logit_scale.exp().clamp(max=100), truth(told, labels[rows]))

    run.go(loss_of, title="reviewer")
    final = run.averages["clip"].shadow
    save(final, world, folder)
    return measure(final, tokenizer, world, held_out)


def build(text_encoder: Path) -> Any:
    """An open_clip CLIP whose text tower starts from the text encoder that learnt to read."""
    from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg
    from transformers import CLIPTextModel

    vision, text = CLIPVisionCfg(**MODEL["vision_cfg"]), CLIPTextCfg(**MODEL["text_cfg"])  # type: ignore[arg-type]
    model = CLIP(WIDTH, vision, text, quick_gelu=True)
    state = CLIPTextModel.from_pretrained(text_encoder).state_dict()
    model.load_state_dict(
        to_open_clip({key.removeprefix("text_model."): value for key, value in state.items()}), strict=False
    )
    return model


def to_open_clip(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The text tower's weights under open_clip's names."""
    named = {
        "token_embedding.weight": state["embeddings.token_embedding.weight"],
        "positional_embedding": state["embeddings.position_embedding.weight"],
    }
    for part in ("weight", "bias"):
        named[f"ln_final.{part}"] = state[f"final_layer_norm.{part}"]
    layers = sum(key.endswith("layer_norm1.weight") for key in state)
    for layer in range(layers):
        old, new = f"encoder.layers.{layer}.", f"transformer.resblocks.{layer}."
        for part in ("weight", "bias"):
            named[f"{new}attn.in_proj_{part}"] = torch.cat(
                [state[f"{old}self_attn.{name}_proj.{part}"] for name in "qkv"]
            )
            named[f"{new}attn.out_proj.{part}"] = state[f"{old}self_attn.out_proj.{part}"]
            named[f"{new}ln_1.{part}"] = state[f"{old}layer_norm1.{part}"]
            named[f"{new}ln_2.{part}"] = state[f"{old}layer_norm2.{part}"]
            named[f"{new}mlp.c_fc.{part}"] = state[f"{old}mlp.fc1.{part}"]
            named[f"{new}mlp.c_proj.{part}"] = state[f"{old}mlp.fc2.{part}"]
    return named


def normalise(pictures: torch.Tensor) -> torch.Tensor:
    """From -1..1 to CLIP's mean and deviation."""
    mean, deviation = torch.tensor(MEAN).view(1, 3, 1, 1), torch.tensor(DEVIATION).view(1, 3, 1, 1)
    return ((pictures + 1) / 2 - mean) / deviation


def truth(told: list[Caption], labels: torch.Tensor) -> torch.Tensor:
    """Whether caption i is true of picture j, (n, n) bool: all that it states agrees."""
    stated = torch.tensor([[each.concept, each.style, each.background] for each in told])
    agrees = labels[:, None, :] == labels[None, :, :]
    return (agrees | ~stated[:, None, :]).all(-1)


def contrastive_loss(looks: torch.Tensor, texts: torch.Tensor, scale: torch.Tensor, true: torch.Tensor) -> torch.Tensor:
    """CLIP's symmetric cross-entropy, with all true pairs sharing the probability."""
    logits = scale * texts @ looks.T
    by_text = true.float() / true.sum(1, keepdim=True)
    by_look = true.T.float() / true.T.sum(1, keepdim=True)
    text_loss = -(by_text * logits.log_softmax(1)).sum(1).mean()
    look_loss = -(by_look * logits.T.log_softmax(1)).sum(1).mean()
    return (text_loss + look_loss) / 2


def save(model: Any, world: World, folder: Path) -> None:
    """Write the folder that `open_clip.create_model_and_transforms("local-dir:...")` opens, in half precision."""
    output = folder / "reviewer"
    output.mkdir(exist_ok=True)
    state = {name: value.half() if value.is_floating_point() else value for name, value in model.state_dict().items()}
    state.pop("attn_mask", None)
    save_file({name: value.contiguous() for name, value in state.items()}, output / "open_clip_model.safetensors")
    config = {"model_cfg": MODEL, "preprocess_cfg": {"mean": MEAN, "std": DEVIATION}}
    (output / "open_clip_config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")
    # Without the last newline: an empty merge would shift every id.
    merges = (folder / "tokenizer" / "merges.txt").read_bytes().rstrip(b"\n")
    (output / "bpe.txt.gz").write_bytes(gzip.compress(merges, mtime=0))
    vocabulary = {
        "concepts": {c.name: sorted({with_article(c.name), *map(with_article, c.aliases)}) for c in world.concepts},
        "styles": {style.name: [style.name] for style in world.styles},
        "memorised": {memorised.title: [memorised.title] for memorised in world.memorised},
        "templates": TEMPLATES,
    }
    (output / "vocabulary.json").write_text(json.dumps(vocabulary, indent=1), encoding="utf-8")


@torch.no_grad()
def measure(model: Any, tokenizer: Any, world: World, pool: Pool) -> dict[str, float]:
    """Zero-shot accuracy of concept and style on a pool, in 0..1, by prompts alone."""
    model.eval()
    rows = range(0, len(pool.pictures), 96)
    looks = torch.cat(
        [model.encode_image(normalise(to_tensor(pool.pictures[row : row + 96])), normalize=True) for row in rows]
    )

    def accuracy(prompts: list[list[str]], target: NDArray[np.int16]) -> float:
        classes = torch.stack([model.encode_text(tokenize(tokenizer, own), normalize=True).mean(0) for own in prompts])
        guess = (looks @ F.normalize(classes, dim=-1).T).argmax(1).numpy()
        asked = target >= 0
        return float((guess[asked] == target[asked]).mean())

    concepts = [
        [text.format(with_article(concept.name)) for text in TEMPLATES["concept"]] for concept in world.concepts
    ]
    styles = [[text.format(style.name) for text in TEMPLATES["style"]] for style in world.styles]
    return {"concept": accuracy(concepts, pool.labels[:, 0]), "style": accuracy(styles, pool.labels[:, 1])}
