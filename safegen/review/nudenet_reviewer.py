"""NudeNet: a detector of exposed and covered body parts, as its package carries it.

Invariants: no detection of an asked label is the score 0.0, which is an answer. The detector takes up boxes from 0.2 on
and drops those up to 0.25 again when it merges overlapping ones, so a positive threshold at or below 0.25 asks for
nothing more than 0.25 does. Nothing touches the disk after loading.
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
"""Pixels of the detector's own input, each way."""


class NudeNetReviewer:
    """Scores labels such as `FEMALE_BREAST_EXPOSED` by NudeNet's best detection of them."""

    name = "nudenet"

    def __init__(self, detector: Any, labels: tuple[str, ...], digest: str) -> None:
        self._detector = detector
        self.labels = labels
        self.digest = digest

    @classmethod
    def load(cls, folder: Path | None = None, *, digest: str | None = None) -> NudeNetReviewer:
        """Load the model that the nudenet package carries.

        Args:
            folder: must be None; NudeNet brings its own weights.
            digest: what the model's file must be, if the caller cares.

        Raises:
            ReviewError: the package or its model is missing, the model is another one, or a folder was given.
        """
        if folder is not None:
            raise ReviewError("NudeNet brings its own weights and opens no folder", where=str(folder))
        try:
            import nudenet
        except ImportError as error:
            raise ReviewError(f"nudenet cannot be imported: {error}", hint="pip install nudenet") from error

        # The name is looked up as text: written as an attribute here, Python would mangle its two underscores.
        labels = vars(nudenet.nudenet)["__labels"]
        weights = Path(nudenet.__file__).parent / "320n.onnx"
        if not weights.is_file():
            raise ReviewError("the nudenet package carries no model", where=str(weights), hint="reinstall nudenet")
        found = file_digest(weights)
        if digest not in {None, found}:
            raise ReviewError(f"NudeNet's model is {found}, not {digest}", where=str(weights))
        return cls(nudenet.NudeDetector(str(weights)), tuple(labels), found)

    def review(self, images: Sequence[Image], question: Question) -> list[Scores]:
        """Best score of each asked label; all labels of exposed parts if none is asked.

        Raises:
            ReviewError: a label that NudeNet does not know.
        """
        asked = question.labels or tuple(label for label in self.labels if label.endswith("_EXPOSED"))
        for label in asked:
            self._check_known(label)
        return [self._scores(image, asked) for image in images]

    def _check_known(self, label: str) -> None:
        if label in self.labels:
            return
        known = f"known: {', '.join(sorted(self.labels))}"
        close = difflib.get_close_matches(label.upper(), self.labels, n=1)
        hint = f"did you mean {close[0]}? {known}" if close else known
        raise ReviewError(f"NudeNet has no label {label!r}", hint=hint)

    def _scores(self, image: Image, asked: tuple[str, ...]) -> Scores:
        scores = dict.fromkeys(asked, 0.0)
        for detection in self._detector.detect(_pixels(image)):
            label = detection["class"]
            if label in scores:
                scores[label] = max(scores[label], float(detection["score"]))
        return Scores(scores)


def _pixels(image: Image) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """BGR pixels, (height, width, 3), as NudeNet reads them from a file.

    A smaller picture is enlarged by Lanczos until its longest side has the detector's 320 pixels, as NudeNet itself
    would enlarge it bilinearly; it shrinks larger ones.
    """
    picture = image.convert("RGB")
    if max(picture.size) < _SIDE:
        factor = _SIDE / max(picture.size)
        size = (max(1, round(picture.width * factor)), max(1, round(picture.height * factor)))
        picture = picture.resize(size, PillowImage.Resampling.LANCZOS)
    return np.ascontiguousarray(np.asarray(picture)[..., ::-1])
