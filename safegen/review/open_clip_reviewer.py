"""Zero-shot review by a CLIP in open_clip's format: which of the things it knows does the image show?

The score of a target is its probability among all classes of its group (concepts, styles or memorised titles), as
CLIP's softmax gives it. Invariants: a target that the folder's vocabulary does not list becomes one more class, named
by its own words; text is embedded once.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional as F

from safegen.data import folder_digest
from safegen.errors import ReviewError
from safegen.review.reviewer import Question, Scores

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class _Group:
    """Classes that exclude one another: names (lower case), and their embeddings (classes, width)."""

    names: tuple[str, ...]
    embeddings: torch.Tensor
    templates: tuple[str, ...]


class OpenClipReviewer:
    """A CLIP and the vocabulary it was shipped with."""

    def __init__(self, model: Any, preprocess: Any, tokenizer: Any, vocabulary: dict[str, Any], digest: str) -> None:
        self._model, self._preprocess, self._tokenizer = model, preprocess, tokenizer
        self.digest = digest
        templates = vocabulary["templates"]
        self._groups = {
            "concept": self._group(vocabulary["concepts"], templates["concept"]),
            "style": self._group(vocabulary["styles"], templates["style"]),
            "memorised": self._group({**vocabulary["concepts"], **vocabulary["memorised"]}, templates["memorised"]),
        }
        self._aliases = {
            phrase.lower(): name.lower()
            for group in ("concepts", "styles", "memorised")
            for name, phrases in vocabulary[group].items()
            for phrase in (name, *phrases)
        }
        self._memorised = {title.lower() for title in vocabulary["memorised"]}

    @classmethod
    def load(cls, folder: Path | None, digest: str | None = None) -> OpenClipReviewer:
        """Open a local folder in open_clip's format with a `vocabulary.json` beside it.

        Raises:
            ReviewError: no folder, or a file in it is missing or damaged.
        """
        if folder is None:
            raise ReviewError(
                "open_clip has no weights for this base model", hint="the registry needs a reviewer `<base>/open_clip`"
            )
        import open_clip
        from open_clip.tokenizer import SimpleTokenizer

        try:
            model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{folder}")
            config = json.loads((folder / "open_clip_config.json").read_text(encoding="utf-8"))["model_cfg"]["text_cfg"]
            vocabulary = json.loads((folder / "vocabulary.json").read_text(encoding="utf-8"))
            tokenizer = SimpleTokenizer(str(folder / "bpe.txt.gz"), context_length=config["context_length"])
        except Exception as error:
            raise ReviewError(f"open_clip cannot open the reviewer: {error}", where=str(folder)) from error
        return cls(model.float().eval(), preprocess, tokenizer, vocabulary, digest or folder_digest(folder))

    @torch.no_grad()
    def review(self, images: Sequence[Image], question: Question) -> list[Scores]:
        """Probability of each target for each image.

        Raises:
            ReviewError: the question names no target.
        """
        if not question.targets:
            raise ReviewError("open_clip was asked about nothing", hint="name the rule's concepts in its review")
        pixels = torch.stack([self._preprocess(image.convert("RGB")) for image in images])
        looks = self._model.encode_image(pixels, normalize=True)
        columns = [self._probability(looks, target) for target in question.targets]
        return [
            Scores({target: float(column[row]) for target, column in zip(question.targets, columns, strict=True)})
            for row in range(len(images))
        ]

    def _probability(self, looks: torch.Tensor, target: str) -> torch.Tensor:
        """Probability of one target within its group, (images,)."""
        name = self._aliases.get(target.lower(), target.lower())
        group = self._group_of(name)
        if name in group.names:
            classes, index = group.embeddings, group.names.index(name)
        else:
            own = self._embed([name], group.templates)
            classes, index = torch.cat([group.embeddings, own[None]]), len(group.names)
        logits = self._model.logit_scale.exp().clamp(max=100) * looks @ classes.T
        probabilities: torch.Tensor = logits.softmax(1)[:, index]
        return probabilities

    def _group_of(self, name: str) -> _Group:
        if name in self._groups["style"].names:
            return self._groups["style"]
        return self._groups["memorised" if name in self._memorised else "concept"]

    @torch.no_grad()
    def _group(self, classes: dict[str, list[str]], templates: list[str]) -> _Group:
        embeddings = [self._embed(phrases, tuple(templates)) for phrases in classes.values()]
        return _Group(tuple(name.lower() for name in classes), torch.stack(embeddings), tuple(templates))

    def _embed(self, phrases: Sequence[str], templates: tuple[str, ...]) -> torch.Tensor:
        """One class: the mean over phrases and templates, normalised, (width,)."""
        texts = [template.format(phrase) for phrase in phrases for template in templates]
        return F.normalize(self._model.encode_text(self._tokenizer(texts), normalize=True).mean(0), dim=-1)
