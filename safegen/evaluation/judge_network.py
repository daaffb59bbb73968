"""The judge's network: a ConvNeXt that names concept and style, and a shallow one that only sees texture.

Blocks of pixel art and smooth gradients are local, and a deep network that was busy with 166 concepts overlooks them;
a shallow one sees them and cannot tell which emoji set a drawing is from. Together they err less than either: style
is where the sum of their log-probabilities is largest.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn


class Texture(nn.Sequential):
    """Four convolutions with a receptive field of 21 pixels, mean and maximum over the picture, one linear layer."""

    def __init__(self, styles: int) -> None:
        super().__init__(
            *_convolution(3, 24, side=5, stride=2),
            *_convolution(24, 48),
            *_convolution(48, 64, stride=2),
            *_convolution(64, 64),
            _MeanAndMaximum(),
            nn.Linear(128, styles),
        )


class JudgeNetwork(nn.Module):
    """Pictures (n, 3, 64, 64) in -1..1 to log-probabilities of concepts and of styles."""

    def __init__(self, concepts: int, styles: int, architecture: Mapping[str, Any]) -> None:
        from timm.models.convnext import ConvNeXt

        super().__init__()
        self.concepts = concepts
        self.content = ConvNeXt(num_classes=concepts + styles, **architecture)
        self.texture = Texture(styles)

    def features(self, pictures: torch.Tensor) -> torch.Tensor:
        """What the ConvNeXt's last layer reads: (n, width)."""
        read: torch.Tensor = self.content.forward_head(self.content.forward_features(pictures), pre_logits=True)
        return read

    def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-probabilities (n, concepts) and, not normalised, (n, styles)."""
        named: torch.Tensor = self.content.get_classifier()(self.features(pictures))
        style = named[:, self.concepts :].log_softmax(1) + self.texture(pictures).log_softmax(1)
        return named[:, : self.concepts].log_softmax(1), style


class _MeanAndMaximum(nn.Module):
    def forward(self, seen: torch.Tensor) -> torch.Tensor:
        return torch.cat([seen.mean((2, 3)), seen.amax((2, 3))], 1)


def _convolution(before: int, after: int, *, side: int = 3, stride: int = 1) -> tuple[nn.Module, ...]:
    convolution = nn.Conv2d(before, after, side, stride, side // 2, bias=False)
    return convolution, nn.BatchNorm2d(after), nn.ReLU()
