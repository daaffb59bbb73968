"""The tokenizer and the first schooling of the text encoder.

The text encoder learns to read before it learns to draw: from a caption alone it tells concept, category, style and
background, and how the concept's drawing looks from far away (an 8 x 8 thumbnail), so that what looks alike lies near
in its space. It then trains on with the denoiser. Invariants: 2,048 tokens, end-of-text has the highest id (so
open_clip's argmax pooling and CLIP's end-of-text pooling agree), 32 positions.
"""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from safegen.training.sticker.captions import Caption, Captions
from safegen.training.sticker.running import Run, Schedule
from safegen.training.sticker.world import World

VOCABULARY = 2048
LENGTH = 32
WIDTH = 128
STEPS = 2400
BATCH = 128
_GRAMMAR = "a an in the style of by on with background picture drawing image sticker something and"


def train_tokenizer(captions: Captions, emoji: list[dict[str, Any]], folder: Path) -> None:
    """Learn CLIP-style byte-pair merges from captions and from Unicode's names; save to `folder/tokenizer`."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    model = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    model.normalizer = normalizers.Lowercase()
    model.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(r"[^\p{L}]+|\p{L}+", "isolated"), pre_tokenizers.WhitespaceSplit()]
    )
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - 2 + 256, initial_alphabet=alphabet, end_of_word_suffix="</w>", show_progress=False
    )
    counts = _word_counts(captions, emoji)
    model.train_from_iterator((f"{word} " * count for word, count in sorted(counts.items())), trainer)
    merges = [tuple(merge) for merge in json.loads(model.to_str())["model"]["merges"]][
        : VOCABULARY - 2 - 2 * len(alphabet)
    ]
    symbols = [*alphabet, *(f"{byte}</w>" for byte in alphabet), *(left + right for left, right in merges)]
    vocabulary = {symbol: index for index, symbol in enumerate([*symbols, "<|startoftext|>", "<|endoftext|>"])}
    save_tokenizer(vocabulary, merges, folder / "tokenizer")


def save_tokenizer(vocabulary: dict[str, int], merges: list[tuple[str, ...]], folder: Path) -> None:
    """Write vocab.json, merges.txt and the configuration that CLIPTokenizer reads."""
    from transformers import CLIPTokenizer

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(merge) for merge in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=LENGTH).save_pretrained(
        folder
    )


def _word_counts(captions: Captions, emoji: list[dict[str, Any]]) -> Counter[str]:
    """How often each word counts for the merges; what captions name must become one token each."""
    counts: Counter[str] = Counter()
    for entry in emoji:
        for text in (entry["label"], *entry.get("tags", ())):
            counts.update(re.findall(r"[a-z]+", text.lower()))
    world = captions.world
    named = [word for words in captions.words.values() for word in words]
    named += [style.name for style in world.styles] + [alias for style in world.styles for alias in style.aliases]
    named += [memorised.title for memorised in world.memorised] + list(world.backgrounds)
    named += [_GRAMMAR]
    for word in {part for name in named for part in re.findall(r"[a-z]+", name)}:
        counts[word] += 400
    return counts


def build_text_encoder() -> Any:
    """A fresh CLIPTextModel: 3 layers of width 128."""
    from transformers import CLIPTextConfig, CLIPTextModel

    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=VOCABULARY,
            hidden_size=WIDTH,
            intermediate_size=4 * WIDTH,
            num_hidden_layers=3,
            num_attention_heads=4,
            max_position_embeddings=LENGTH,
            hidden_act="quick_gelu",
            projection_dim=WIDTH,
            bos_token_id=VOCABULARY - 2,
            eos_token_id=VOCABULARY - 1,
            pad_token_id=VOCABULARY - 1,
        )
    )


def tokenize(tokenizer: Any, captions: list[str]) -> torch.Tensor:
    """Token ids (batch, 32), padded and cut."""
    encoded = tokenizer(captions, padding="max_length", max_length=LENGTH, truncation=True, return_tensors="pt")
    ids: torch.Tensor = encoded.input_ids
    return ids


class Reader(nn.Module):
    """Answers questions about a caption from the text encoder's states, through one learned query a question.

    Reading by attention, as the denoiser will, makes every token's state carry meaning, not the last one's alone.
    """

    def __init__(self, answers: dict[str, int]) -> None:
        super().__init__()
        self.queries = nn.ParameterDict({name: nn.Parameter(torch.randn(WIDTH) * 0.05) for name in answers})
        self.heads = nn.ModuleDict({name: nn.Linear(WIDTH, size) for name, size in answers.items()})

    def forward(self, states: torch.Tensor) -> dict[str, torch.Tensor]:
        """Logits (batch, answers) of each question, from states (batch, tokens, width)."""
        result = {}
        for name, head in self.heads.items():
            weights = (states @ self.queries[name]).softmax(1)
            result[name] = head((weights[..., None] * states).sum(1))
        return result


def pretrain(
    world: World, captions: Captions, thumbnails: NDArray[np.float32], folder: Path, steps: int = STEPS
) -> None:
    """Teach the text encoder to read; save to `folder/text_encoder_read`; resumes from `folder/text.safetensors`.

    Args:
        world: concepts, styles, backgrounds.
        captions: the language.
        thumbnails: (concepts, features) float32, what each concept looks like from far away.
        folder: the recipe's working folder, with the tokenizer in it.
        steps: updates to make.
    """
    from transformers import CLIPTokenizer

    torch.manual_seed(0)
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    categories = sorted({concept.category for concept in world.concepts})
    encoder = build_text_encoder()
    reader = Reader(
        {
            "concept": len(world.concepts) + len(world.memorised),
            "category": len(categories),
            "style": len(world.styles),
            "background": len(world.backgrounds),
            "look": thumbnails.shape[1],
        }
    )
    parameters = [*encoder.parameters(), *reader.parameters()]
    optimiser = torch.optim.AdamW(parameters, 1.5e-3, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
    run = Run(
        folder / "text.safetensors", {"encoder": encoder, "reader": reader}, optimiser, Schedule(1.5e-3, steps), seed=2
    )
    category_of = torch.tensor([categories.index(concept.category) for concept in world.concepts])
    looks = torch.from_numpy(thumbnails)

    def loss_of(_: torch.Generator, step: int) -> torch.Tensor:
        rng = random.Random(step)  # noqa: S311 - variation, not secrecy
        labels = [_random_labels(world, rng) for _ in range(BATCH)]
        told = [captions.caption(label, rng) for label in labels]
        answers = reader(encoder(input_ids=tokenize(tokenizer, [each.text for each in told])).last_hidden_state)
        return _loss(answers, told, labels, category_of, looks)

    run.go(loss_of, title="text encoder")
    run.averages["encoder"].shadow.save_pretrained(folder / "text_encoder_read")


def _random_labels(world: World, rng: random.Random) -> tuple[int, int, int]:
    if rng.random() < 0.03:
        return (-1 - rng.randrange(len(world.memorised)), -1, -1)
    return (rng.randrange(len(world.concepts)), rng.randrange(len(world.styles)), rng.randrange(len(world.backgrounds)))


def _loss(
    answers: dict[str, torch.Tensor],
    told: list[Caption],
    labels: list[tuple[int, int, int]],
    category_of: torch.Tensor,
    looks: torch.Tensor,
) -> torch.Tensor:
    """Cross-entropy of what a caption states and the error of the thumbnail; what it leaves open is not asked."""
    concept, style, background = torch.tensor(labels).unbind(1)
    memorised = concept < 0
    concept = torch.where(memorised, len(looks) - 1 - concept, concept)
    named = torch.tensor([each.concept for each in told])
    styled = torch.tensor([each.style for each in told])
    grounded = torch.tensor([each.background for each in told])
    drawn = named & ~memorised
    loss = F.cross_entropy(answers["concept"][named], concept[named])
    loss = loss + 0.5 * F.cross_entropy(answers["category"][drawn], category_of[concept[drawn]])
    loss = loss + F.cross_entropy(answers["style"][styled], style[styled])
    loss = loss + 0.5 * F.cross_entropy(answers["background"][grounded], background[grounded])
    return loss + 0.5 * F.mse_loss(answers["look"][drawn], looks[concept[drawn]])
