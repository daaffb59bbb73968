"""Identifies a text encoder: what was read with it can be kept, and compared with what is read later.

Invariant: the digest is a function of weights and vocabulary alone, the same on every machine.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn


def text_encoder_digest(readers: Sequence[tuple[Any, nn.Module]]) -> str:
    """`sha256:<hex>` over each (tokenizer, encoder): the vocabulary, and the weights by name."""
    digest = hashlib.sha256()
    for tokenizer, encoder in readers:
        digest.update(json.dumps(tokenizer.get_vocab(), sort_keys=True).encode())
        for name, weight in sorted(encoder.state_dict().items()):
            digest.update(f"{name} {weight.dtype} {tuple(weight.shape)}\n".encode())
            digest.update(weight.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return f"sha256:{digest.hexdigest()}"
