"""Zero-shot review by a CLIP in open_clip's format: which of the things it knows does the image show?

The score of a target is its probability among all classes of its group (concepts, styles or memorised titles), as
CLIP's softmax gives it. Invariants: a target that the vocabulary does not list becomes one more concept, named by its
own words; one that means several things scores as its likeliest meaning; text is embedded once; the whole picture is
looked at, never a crop; only safetensors are loaded, and never a model without its weights.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image as PillowImage

from safegen.data import folder_digest
from safegen.errors import ReviewError
from safegen.review.reviewer import Question, Scores
from safegen.review.vocabulary import GroupName, Vocabulary

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

_FILES = ("open_clip_config.json", "open_clip_model.safetensors", "bpe.txt.gz", "vocabulary.json")
_LARGEST_SCALE = 100.0
"""CLIP's own bound on the logit scale (Radford et al. 2021, section 2.5)."""
_TEXT_BATCH = 256


class OpenClipReviewer:
    """A CLIP and the vocabulary it was shipped with."""

    name = "open_clip"

    def __init__(self, model: Any, tokenizer: Any, vocabulary: Vocabulary, digest: str) -> None:
        self._model, self._tokenizer, self._vocabulary = model, tokenizer, vocabulary
        self.digest = digest
        self._classes: Mapping[GroupName, torch.Tensor] = {
            name: self._embed([group.prompts(phrases) for phrases in group.classes.values()])
            for name, group in vocabulary.groups.items()
            if group.classes
        }
        self._unlisted: dict[str, torch.Tensor] = {}

    @classmethod
    def load(cls, folder: Path | None, *, digest: str | None = None) -> OpenClipReviewer:
        """Open a local folder in open_clip's format with a `vocabulary.json` beside it.

        Args:
            folder: has `open_clip_config.json`, `open_clip_model.safetensors`, `bpe.txt.gz` and `vocabulary.json`.
            digest: of the folder, checked by whoever resolved it; None takes what the folder has.

        Raises:
            ReviewError: no folder, or a file in it is missing or damaged.
        """
        if folder is None:
            raise ReviewError(
                "open_clip has no weights for this base model", hint="the registry needs a reviewer `<base>/open_clip`"
            )
        for file in _FILES:
            if not (folder / file).is_file():
                raise ReviewError(
                    f"the reviewer's folder lacks {file}", where=str(folder), hint="restore the folder, or reinstall"
                )
        vocabulary = Vocabulary.read(folder / "vocabulary.json")
        try:
            model, tokenizer = _open(folder)
        except Exception as error:
            raise ReviewError(f"open_clip cannot open the reviewer: {error}", where=str(folder)) from error
        return cls(model, tokenizer, vocabulary, digest or folder_digest(folder))

    def review(self, images: Sequence[Image], question: Question) -> list[Scores]:
        """Probability of each target for each image; all images go through the model at once.

        Raises:
            ReviewError: the question names no target.
        """
        import torch

        if not question.targets:
            raise ReviewError("open_clip was asked about nothing", hint="name the rule's concepts in its review")
        if not images:
            return []
        with torch.no_grad():
            looks = self.embed_images(images)
            columns = {target: self._probability(looks, target).tolist() for target in question.targets}
        return [Scores({target: column[row] for target, column in columns.items()}) for row in range(len(images))]

    def embed_images(self, images: Sequence[Image]) -> torch.Tensor:
        """Normalised embeddings of pictures, (images, width), as CLIP scores take them."""
        import torch

        with torch.no_grad():
            embedded: torch.Tensor = self._model.encode_image(self._pixels(images), normalize=True)
        return embedded

    def embed_texts(self, texts: Sequence[str]) -> torch.Tensor:
        """Normalised embeddings of texts as they stand, (texts, width)."""
        return self._embed([[text] for text in texts])

    def _pixels(self, images: Sequence[Image]) -> torch.Tensor:
        """Normalised pixels, (images, 3, height, width); squeezed to the model's size where theirs is another."""
        import torch

        visual = self._model.visual
        size = visual.image_size if isinstance(visual.image_size, tuple | list) else (visual.image_size,) * 2
        height, width = size
        fitted = [
            picture
            if picture.size == (width, height)
            else picture.resize((width, height), PillowImage.Resampling.BICUBIC)
            for picture in (image.convert("RGB") for image in images)
        ]
        pixels = torch.from_numpy(np.stack([np.asarray(picture, np.float32) for picture in fitted])) / 255
        mean, deviation = torch.tensor(visual.image_mean), torch.tensor(visual.image_std)
        return ((pixels - mean) / deviation).permute(0, 3, 1, 2).contiguous()

    def _probability(self, looks: torch.Tensor, target: str) -> torch.Tensor:
        """Probability of a target's likeliest meaning, (images,)."""
        import torch

        meanings = self._vocabulary.meanings(target)
        if not meanings:
            classes = torch.cat([self._classes["concept"], self._unlisted_class(target)])
            return self._softmax(looks, classes)[:, -1]
        columns = []
        for group, name in meanings:
            index = list(self._vocabulary.groups[group].classes).index(name)
            columns.append(self._softmax(looks, self._classes[group])[:, index])
        return torch.stack(columns).amax(0)

    def _softmax(self, looks: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        """Probability of each class for each image, (images, classes)."""
        scale = self._vocabulary.temperature or self._model.logit_scale.exp().clamp(max=_LARGEST_SCALE)
        probabilities: torch.Tensor = (scale * looks @ classes.T).softmax(1)
        return probabilities

    def _unlisted_class(self, target: str) -> torch.Tensor:
        """Embedding of a word that the vocabulary lacks, (1, width)."""
        if target not in self._unlisted:
            self._unlisted[target] = self._embed([self._vocabulary.groups["concept"].prompts([target])])
        return self._unlisted[target]

    def _embed(self, prompts: Sequence[Sequence[str]]) -> torch.Tensor:
        """One class for each list of prompts: their normalised mean, (classes, width)."""
        import torch
        from torch.nn import functional

        texts = [text for own in prompts for text in own]
        with torch.no_grad():
            parts = [
                self._model.encode_text(self._tokenizer(texts[start : start + _TEXT_BATCH]), normalize=True)
                for start in range(0, len(texts), _TEXT_BATCH)
            ]
        owned = torch.split(torch.cat(parts), [len(own) for own in prompts])
        return functional.normalize(torch.stack([own.mean(0) for own in owned]), dim=-1)


def _open(folder: Path) -> tuple[Any, Any]:
    """The model in float32 for inference, and its tokenizer."""
    import open_clip
    from open_clip.tokenizer import SimpleTokenizer

    config = json.loads((folder / "open_clip_config.json").read_text(encoding="utf-8"))
    model, _, _ = open_clip.create_model_and_transforms(f"local-dir:{folder}", precision="fp32", device="cpu")
    context = config["model_cfg"]["text_cfg"]["context_length"]
    tokenizer = SimpleTokenizer(str(folder / "bpe.txt.gz"), context_length=context)
    return model.float().eval(), tokenizer
