"""What is asked and what is answered."""

from __future__ import annotations

import subprocess
import sys

import pytest

from safegen.review import Question, Scores


def test_scores_name_their_best() -> None:
    """Label and best score follow from all scores."""
    scores = Scores({"cat": 0.2, "dog": 0.7})
    assert (scores.label, scores.best) == ("dog", 0.7)


def test_a_question_of_plain_text_is_a_misuse() -> None:
    """One word instead of a tuple of words would be looked for letter by letter."""
    with pytest.raises(TypeError, match="tuple of words"):
        Question("cat")  # type: ignore[arg-type]


def test_importing_the_package_loads_no_classifier() -> None:
    """Neither torch nor open_clip, nudenet or onnxruntime is loaded before a reviewer is."""
    heavy = "{'torch', 'open_clip', 'nudenet', 'onnxruntime', 'cv2'}"
    program = f"import sys, safegen.review; print(*({heavy} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.split() == []
