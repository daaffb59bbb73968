"""`safegen spm train` on the shipped base, from the recipe to the card."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from safegen.cli.spm import app
from safegen.models import BaseModel
from safegen.spm import Attached, attach, read_spm
from safegen.spm.calibration import stored_calibration


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    """One concept of the zoo, solved, drawn and judged."""
    out = tmp_path_factory.mktemp("spm")
    arguments = ["train", "sticker/zoo", "--only", "sticker/guitar", "--out", str(out), "--json"]
    result = CliRunner().invoke(app, [*arguments, "--pictures", "4", "--picture-steps", "2"])
    assert result.exit_code == 0, result.output
    return out, json.loads(result.stdout)[0]


def test_a_solved_concept_is_gone(made: tuple[Path, dict]) -> None:
    """The judge sees a guitar in the bare pictures, and none in those with the membrane open."""
    measured = made[1]["measured"]
    assert measured["target_before"] == 1
    assert measured["target_after"] == 0


def test_the_file_is_small_calibrated_and_fits(made: tuple[Path, dict], base: BaseModel) -> None:
    """Cross-attention only, a calibrated gate in the metadata, and it attaches to the base that it was solved for."""
    spm = read_spm(Path(made[1]["path"]), expected=made[1]["digest"])
    assert spm.parameters == 3904
    assert stored_calibration(spm.metadata) is not None
    assert spm.metadata["method"] == "closed-form"
    with attach(base.targets(), [Attached(spm, 1.0, "guitar")]) as acting:
        assert acting == 1


def test_card_and_picture_lie_beside_it(made: tuple[Path, dict]) -> None:
    """The card names what is erased and what was measured; the picture has two rows."""
    path = Path(made[1]["path"])
    card = path.with_suffix(".md").read_text(encoding="utf-8")
    assert "Erases the thing **guitar**" in card
    assert "| target recognised, erased (4) | 0% |" in card
    with Image.open(path.with_suffix(".webp")) as picture:
        assert picture.height == 2 * 64 + 2


def test_what_is_finished_is_skipped(made: tuple[Path, dict]) -> None:
    """The same command again makes nothing anew, and says so."""
    arguments = ["train", "sticker/zoo", "--only", "sticker/guitar", "--out", str(made[0]), "--json"]
    again = json.loads(CliRunner().invoke(app, [*arguments, "--pictures", "0"]).stdout)[0]
    assert again["skipped"]
    assert again["digest"] == made[1]["digest"]
