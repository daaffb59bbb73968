"""NudeNet itself, on harmless pictures."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from safegen.errors import ReviewError
from safegen.review import Question, ReviewFailure, Scores, run_review
from safegen.review.nudenet_reviewer import NudeNetReviewer, _pixels

LABEL = "FEMALE_BREAST_EXPOSED"


@pytest.fixture(scope="module")
def reviewer() -> NudeNetReviewer:
    """The detector that the nudenet package carries."""
    return NudeNetReviewer.load()


def drawn() -> Image.Image:
    """A house under a sun."""
    picture = Image.new("RGB", (64, 64), "skyblue")
    pen = ImageDraw.Draw(picture)
    pen.rectangle((14, 30, 50, 60), fill="firebrick", outline="black")
    pen.polygon([(10, 30), (32, 10), (54, 30)], fill="saddlebrown")
    pen.ellipse((48, 4, 60, 16), fill="yellow")
    return picture


class Detector:
    """Stands in for NudeNet where a picture that it would react to cannot be shipped."""

    def __init__(self, *detections: tuple[str, float]) -> None:
        self._detections = [{"class": label, "score": score, "box": [0, 0, 1, 1]} for label, score in detections]

    def detect(self, pixels: np.ndarray[Any, Any]) -> list[dict[str, Any]]:
        return self._detections


def test_a_blank_and_a_drawn_picture_are_answered_with_zero(reviewer: NudeNetReviewer) -> None:
    """No detection is the score 0.0 for each asked label, which is an answer and no silence."""
    question = Question(labels=(LABEL, "BUTTOCKS_EXPOSED"))
    answers = run_review(reviewer, [Image.new("RGB", (64, 64), "white"), drawn()], question)
    assert answers == [Scores({LABEL: 0.0, "BUTTOCKS_EXPOSED": 0.0})] * 2


def test_without_labels_all_exposed_parts_count(reviewer: NudeNetReviewer) -> None:
    """Asked for no label, NudeNet answers for everything exposed and nothing covered."""
    scores = reviewer.review([drawn()], Question())[0]
    assert scores.all.keys() == {label for label in reviewer.labels if label.endswith("_EXPOSED")}


def test_the_best_detection_of_a_label_is_its_score() -> None:
    """Several detections of one label count once, by the best; other labels do not count."""
    detector = Detector((LABEL, 0.4), (LABEL, 0.8), (LABEL, 0.3), ("FACE_FEMALE", 0.9))
    reviewer = NudeNetReviewer(detector, (LABEL, "FACE_FEMALE", "FEET_EXPOSED"), "sha256:" + "0" * 64)
    scores = reviewer.review([drawn()], Question(labels=(LABEL, "FEET_EXPOSED")))[0]
    assert scores == Scores({LABEL: 0.8, "FEET_EXPOSED": 0.0})


def test_an_unknown_label_is_an_error_that_lists_the_known_ones(reviewer: NudeNetReviewer) -> None:
    """A misspelt label says what was probably meant; asked through `run_review` it is a failure."""
    with pytest.raises(ReviewError, match=f"did you mean {LABEL}.*known: .*FACE_MALE"):
        reviewer.review([drawn()], Question(labels=("female_breast_exposd",)))
    assert isinstance(run_review(reviewer, [drawn()], Question(labels=("SPLEEN",)))[0], ReviewFailure)


def test_the_digest_is_that_of_the_model_and_can_be_demanded(reviewer: NudeNetReviewer) -> None:
    """Another digest than the model's, or a folder, which NudeNet would ignore, is refused."""
    assert NudeNetReviewer.load(digest=reviewer.digest).digest == reviewer.digest
    with pytest.raises(ReviewError, match="not sha256:0"):
        NudeNetReviewer.load(digest="sha256:" + "0" * 64)
    with pytest.raises(ReviewError, match="opens no folder"):
        NudeNetReviewer.load(Path("weights"))


def test_the_pixels_are_those_that_nudenet_reads_from_a_file() -> None:
    """Order of channels included: the network sees the same numbers as for a PNG of the same picture."""
    from nudenet import nudenet

    noise = np.random.default_rng(0).integers(0, 256, (320, 320, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "PNG")
    ours = nudenet._read_image(_pixels(Image.fromarray(noise)))[0]
    assert np.array_equal(ours, nudenet._read_image(file.getvalue())[0])


@pytest.mark.parametrize(
    ("size", "expected"), [((64, 64), (320, 320)), ((64, 128), (160, 320)), ((1, 400), (1, 400)), ((1, 319), (1, 320))]
)
def test_small_pictures_are_enlarged_and_none_is_distorted(size: tuple[int, int], expected: tuple[int, int]) -> None:
    """The longest side becomes 320 pixels, unless it is longer."""
    pixels = _pixels(Image.new("RGBA", size, "red"))
    assert (pixels.shape[1], pixels.shape[0]) == expected
    assert pixels[0, 0].tolist() == [0, 0, 255]
