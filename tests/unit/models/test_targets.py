"""Where SPMs attach, in the real configurations of every family."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from safegen.errors import ModelError
from safegen.models import BaseModel
from safegen.models.layouts import folder_targets, published_targets
from safegen.spm import MembraneSet, Registry
from safegen.spm.family import family_of
from safegen.spm.layers import layer_name
from tests.families import BUILDERS, family_model

COUNTS = [
    ("sd1", 192, 423_936),
    ("sd2", 192, 432_128),
    ("sdxl", 722, 2_659_840),
    ("sd3", 285, 1_308_672),
    ("flux", 418, 4_085_760),
]


@pytest.mark.parametrize(("family", "modules", "parameters"), COUNTS)
def test_published_configurations_have_the_stated_modules_and_parameters(
    family: str, modules: int, parameters: int
) -> None:
    """At rank 1: SD 1.4 as arXiv 2312.16145 states, and as docs/decisions/0010 counts for the others."""
    targets = published_targets(family)
    with torch.device("meta"):
        membranes = MembraneSet(targets, rank=1)
    assert len(targets) == modules
    assert sum(parameter.numel() for parameter in membranes.parameters()) == parameters
    assert family_of({layer_name(path): module.weight.shape for path, module in targets.items()}) == family
    assert all(module.weight.is_meta for module in targets.values())


def test_a_folder_gives_its_models_targets_without_weights(base: BaseModel, registry: Registry) -> None:
    """The configuration alone gives the same paths and shapes as the loaded model."""
    found = folder_targets(registry.folder / registry.base("sticker").path)
    loaded = base.targets()
    assert [(path, module.weight.shape) for path, module in found.items()] == [
        (path, module.weight.shape) for path, module in loaded.items()
    ]


@pytest.mark.parametrize("content", [None, "{", "[]", "{}", '{"_class_name": "Other"}'])
def test_folders_without_a_known_denoiser_are_refused(content: str | None, tmp_path: Path) -> None:
    """No configuration, an unreadable one and an unknown one are errors that name the file."""
    if content is not None:
        (tmp_path / "unet").mkdir()
        (tmp_path / "unet/config.json").write_text(content)
    with pytest.raises(ModelError, match=tmp_path.name):
        folder_targets(tmp_path)
    with pytest.raises(ModelError, match="no family 'sd9'"):
        published_targets("sd9")


@pytest.mark.parametrize("family", BUILDERS)
def test_layer_names_are_unambiguous_and_tell_the_family(family: str) -> None:
    """No two targets share a layer name, and the names and shapes of a small model tell its family too."""
    targets = family_model(family).targets()
    shapes = {layer_name(path): module.weight.shape for path, module in targets.items()}
    assert len(shapes) == len(targets)
    assert family_of(shapes) == family_model(family).family == family


def test_what_modulates_is_no_target() -> None:
    """Adaptive norms, embeddings and output layers of transformers are left alone."""
    for family in ("sd3", "flux"):
        model = family_model(family)
        assert all("norm" not in path and "blocks." in path for path in model.targets())
        linear = [path for path, module in model.denoiser.named_modules() if isinstance(module, nn.Linear)]
        assert any("norm" in path for path in linear)
