"""NudeNet: a detector of exposed and covered body parts, as its package carries it.

Invariants: the detector reports nothing below 0.2, so a lower threshold asks for what it never says; no detection of
an asked label is the score 0.0, which is an answer. Small pictures are enlarged to the detector's 320 pixels first.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image as PillowImage

from safegen.data import file_digest
from safegen.errors import ReviewError
from safegen.review.reviewer import Question, Scores

if TYPE_CHECKING:
    from PIL.Image import Image

_SIDE = 320


class NudeNetReviewer:
    """Scores labels such as `FEMALE_BREAST_EXPOSED` by NudeNet's best detection of them."""

    def __init__(self, detector: Any, labels: tuple[str, ...], digest: str) -> None:
        self._detector = detector
        self.labels = labels
        self.digest = digest

    @classmethod
    def load(cls, _folder: Path | None = None, _digest: str | None = None) -> NudeNetReviewer:
        """Load the model that the nudenet package carries.

        Raises:
            ReviewError: the package carries no model.
        """
        import nudenet

        # The name is written out of the class's reach, where Python would mangle its two underscores.
        labels = vars(nudenet.nudenet)["__labels"]
        weights = Path(nudenet.__file__).parent / "320n.onnx"
        if not weights.is_file():
            raise ReviewError("the nudenet package carries no model", where=str(weights), hint="reinstall nudenet")
        return cls(nudenet.NudeDetector(), tuple(labels), file_digest(weights))

    def review(self, images: Sequence[Image], question: Question) -> list[Scores]:
        """Best score of each asked label; all labels of exposed parts if none is asked.

        Raises:
            ReviewError: a label that NudeNet does not know.
        """
        asked = question.labels or tuple(label for label in self.labels if label.endswith("_EXPOSED"))
        for label in asked:
            if label not in self.labels:
                close = difflib.get_close_matches(label, self.labels, n=1)
                raise ReviewError(f"NudeNet has no label {label!r}", hint=f"did you mean {close[0]}?" if close else "")
        return [self._scores(image, asked) for image in images]

    def _scores(self, image: Image, asked: tuple[str, ...]) -> Scores:
        scores = dict.fromkeys(asked, 0.0)
        for detection in self._detector.detect(_enlarged(image)):
            label = detection["class"]
            if label in scores:
                scores[label] = max(scores[label], min(1.0, float(detection["score"])))
        return Scores(scores)


def _enlarged(image: Image) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """BGR pixels, the longest side at least 320."""
    picture = image.convert("RGB")
    if max(picture.size) < _SIDE:
        factor = _SIDE / max(picture.size)
        size = (round(picture.width * factor), round(picture.height * factor))
        picture = picture.resize(size, PillowImage.Resampling.LANCZOS)
    return np.ascontiguousarray(np.asarray(picture)[..., ::-1])
