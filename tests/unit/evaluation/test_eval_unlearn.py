"""The plug-in for eval-unlearn keeps that benchmark's contract."""

from __future__ import annotations

import tomllib
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from safegen.evaluation.eval_unlearn import SpmTechnique

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def technique() -> SpmTechnique:
    """Cats, found by a phrase."""
    return SpmTechnique(erase_concept="kitten", num_inference_steps=2, device="cpu", unknown_option=1)


def test_one_picture_a_prompt_and_the_seed_decides(technique: SpmTechnique) -> None:
    """Pictures are repeatable, and another seed is another picture."""
    prompts = ["a cat in the style of noto", "a bell"]
    first, again, other = (technique.generate(prompts, seed=seed) for seed in (3, 3, 4))
    assert len(first) == 2
    assert all(np.array_equal(np.asarray(a), np.asarray(b)) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(np.asarray(first[0]), np.asarray(other[0]))


def test_what_is_erased_must_be_known() -> None:
    """Nothing named, or nothing found, is said at construction."""
    with pytest.raises(ValueError, match="name what to erase"):
        SpmTechnique()
    with pytest.raises(ValueError, match="unheard of"):
        SpmTechnique(erase_concept="unheard of")


def test_the_entry_point_names_the_class() -> None:
    """As eval-unlearn looks it up."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    module, name = project["entry-points"]["eval_unlearn.techniques"]["spm"].split(":")
    assert getattr(import_module(module), name) is SpmTechnique
