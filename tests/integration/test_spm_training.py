"""`safegen spm train` on the shipped base, from the recipe to the card."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from safegen.cli.spm import app
from safegen.evaluation.attacks.defence import GatedMembranes, always_open
from safegen.evaluation.attacks.objective import Drawn, Objective
from safegen.evaluation.attacks.soft_prompt import soft_prompt
from safegen.models import BaseModel, DrawRequest
from safegen.models.white_box import WhiteBox
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


def test_hardened_membranes_keep_an_attack_from_what_it_wants(
    made: tuple[Path, dict], base: BaseModel, tmp_path: Path
) -> None:
    """After the same steps of a soft prompt the denoiser's loss on pictures of guitars stays above the usual SPM's."""
    arguments = ["train", "sticker/zoo", "--only", "sticker/guitar", "--hardened", "--pictures", "0", "--json"]
    result = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path)])
    hardened = json.loads(result.stdout)[0]
    assert hardened["id"] == "sticker/guitar-hardened"
    losses = [_loss_under_attack(base, Path(each["path"])) for each in (made[1], hardened)]
    assert losses[1] > 1.3 * losses[0]


def _loss_under_attack(base: BaseModel, path: Path) -> float:
    references = base.draw(DrawRequest(("a guitar",) * 2, (1, 2), steps=6)).images
    defence = GatedMembranes("open", [read_spm(path)], always_open)
    goal = Objective(WhiteBox(base), references, defence, seed=0)  # type: ignore[arg-type]
    found: list[torch.Tensor] = []

    def watch(states: torch.Tensor) -> torch.Tensor:
        found.append(states.detach().clone())
        return torch.zeros(len(states))

    start = base.encode(["a guitar"] * 2)  # type: ignore[attr-defined]
    soft_prompt(goal, start, steps=(20,), seeds=[1, 2], how=Drawn(steps=1), evade=watch)
    with torch.no_grad():
        return sum(float(goal.loss(found[-1], step).sum()) for step in range(8))


def test_only_solved_spms_are_hardened(tmp_path: Path) -> None:
    """The option is refused for the loop, by name."""
    arguments = ["train", "sticker/zoo", "--only", "sticker/guitar", "--hardened", "--method", "loop"]
    result = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path)])
    assert result.exit_code == 2
    assert "--hardened" in result.output
