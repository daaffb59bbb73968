"""`safegen spm train` on a folder outside the registry, lists that are killed, and what is reported."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from safegen.cli.spm import app
from safegen.evaluation.drawing import Sampler
from safegen.models import TrainableModel
from safegen.spm import read_spm
from safegen.training.effect import Drawn, Meter, Plan
from safegen.training.recipe import Recipe
from safegen.training.result import finished
from safegen.training.run import Progress
from safegen.training.trainer import Trainer
from tests.families import family_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Stable Diffusion 1.x model as diffusers saves it, small and random."""
    folder = tmp_path_factory.mktemp("base") / "some-sd"
    family_model("sd1").pipeline.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("method", ["closed-form", "loop"])
def test_a_shipped_recipe_runs_unchanged_on_any_stable_diffusion(folder: Path, tmp_path: Path, method: str) -> None:
    """By name, with the folder as its base: a file that states base and family, and a card with pictures."""
    arguments = ["train", "--recipe", "nudity", "--base", str(folder), "--method", method, "--steps", "2"]
    drawing = ["--pictures", "1", "--picture-steps", "1", "--device", "cpu", "--out", str(tmp_path), "--json"]
    result = CliRunner().invoke(app, [*arguments, *drawing])
    assert result.exit_code == 0, result.output
    spm = read_spm(Path(json.loads(result.stdout)[0]["path"]))
    assert (spm.metadata["base"], spm.metadata["family"]) == ("some-sd", "sd1")
    assert all(down.isfinite().all() and up.isfinite().all() for down, up, _ in spm.layers.values())
    targets = family_model("sd1").targets()
    read = [path for path in targets if path.endswith(("attn2.to_k", "attn2.to_v"))]
    assert len(spm.layers) == len(read if method == "closed-form" else targets)
    assert (tmp_path / "sd/nudity.md").is_file()


def test_a_command_without_a_recipe_or_with_an_unknown_device_is_refused(folder: Path, tmp_path: Path) -> None:
    """Usage errors say what is missing; a device that torch lacks is named."""
    assert CliRunner().invoke(app, ["train"]).exit_code == 2
    arguments = ["train", "nudity", "--base", str(folder), "--device", "nonsense", "--out", str(tmp_path)]
    assert "'nonsense' cannot be used here" in str(CliRunner().invoke(app, arguments).exception)


@pytest.mark.parametrize("method", ["closed-form", "loop"])
def test_a_list_killed_in_its_middle_gives_the_same_files(
    base: TrainableModel, recipe: Recipe, tmp_path: Path, method: str
) -> None:
    """What was done is kept, what was under way goes on, and every tensor is that of the unbroken list."""
    listed = [recipe.model_copy(update={"id": f"tiny/{seed}", "seed": seed, "method": method}) for seed in range(3)]
    listed = [each.model_copy(update={"drift": 0.3 + each.seed / 10}) for each in listed]

    def run(out: Path, *, killed: bool) -> None:
        trainer = Trainer(base)
        for number, each in enumerate(listed):
            if killed and number == 1 and method == "closed-form":
                raise SystemExit
            if finished(each, base, out) is None:
                trainer.train(each, out, report=kill if killed and number == 1 else None)

    def kill(progress: Progress) -> None:
        if progress.done == 3:
            raise SystemExit

    run(tmp_path / "whole", killed=False)
    with pytest.raises(SystemExit):
        run(tmp_path / "broken", killed=True)
    first = (tmp_path / "broken/tiny/0.safetensors").read_bytes()
    run(tmp_path / "broken", killed=False)
    assert (tmp_path / "broken/tiny/0.safetensors").read_bytes() == first
    for each in listed:
        whole, resumed = (read_spm(tmp_path / name / f"{each.id}.safetensors") for name in ("whole", "broken"))
        for layer, (down, up, alpha) in whole.layers.items():
            assert down.equal(resumed.layers[layer][0])
            assert up.equal(resumed.layers[layer][1])
            assert alpha == resumed.layers[layer][2]
        changing = {"seconds"}
        assert {key: text for key, text in whole.metadata.items() if key not in changing} == {
            key: text for key, text in resumed.metadata.items() if key not in changing
        }


def test_a_concept_that_the_base_never_draws_is_reported(recipe: Recipe, tmp_path: Path) -> None:
    """No bare picture shows it: said in so many words, and in the JSON."""
    from PIL import Image

    from safegen.cli.spm_train import _Done, _said
    from safegen.training.result import Trained

    judge = SimpleNamespace(concepts=("cat", "dog"), styles=())
    pictures = (Image.new("RGB", (8, 8)),)
    meter = Meter(SimpleNamespace(digest="d"), judge, Sampler(8, 3), tmp_path)
    for seen, nothing in (("dog", True), ("cat", False)):
        drawn = Drawn(pictures, (seen,), ("ann",))
        effect = meter.effect(recipe, Plan((("cat", 1),), 0, (("cat", 1),), ()), drawn, drawn)
        trained = Trained(tmp_path / "cat.safetensors", "sha256:0", 1.0, 0.0, 0.0)
        assert ("does not draw it: nothing to erase" in _said(trained, effect, skipped=False)) is nothing
        assert _Done(recipe, trained, effect, skipped=False).shown()["nothing_to_erase"] is nothing
