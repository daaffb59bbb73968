"""Cells, records and reports, from a judge that is told what to say."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from safegen.evaluation.drawing import Sampler
from safegen.evaluation.evaluate import Erased, Size, evaluate
from safegen.evaluation.export import COLUMNS, export_pictures
from safegen.evaluation.gallery import Gallery
from safegen.evaluation.judge import Judgement
from safegen.evaluation.measure import Lab, measure
from safegen.evaluation.method import Membranes, always
from safegen.evaluation.protocols import plan
from safegen.evaluation.record import Cell, Evaluation, Rate
from safegen.evaluation.report import write_report
from safegen.evaluation.vocabulary import Vocabulary
from safegen.models import BaseModel
from safegen.spm import Attached, SpmFile


class Sees:
    """A judge that sees a cat in noto in every picture of the bare model and an owl in what membranes changed."""

    digest = "sha256:judge"

    def __init__(self, bare: Gallery, prompts: Sequence[tuple[str, int]]) -> None:
        self._bare = {picture.tobytes() for picture in bare.bare(prompts)}

    def judge(self, pictures: Sequence[Image.Image]) -> Judgement:
        names = tuple("cat" if picture.tobytes() in self._bare else "owl" for picture in pictures)
        return Judgement(names, ("noto",) * len(names), torch.ones(len(names), 1))

    def features(self, pictures: Sequence[Image.Image]) -> torch.Tensor:
        return torch.stack([torch.tensor([float(sum(picture.tobytes()[:99])), 1.0]) for picture in pictures])


@pytest.fixture(scope="module")
def lab(base: BaseModel, vocabulary: Vocabulary) -> Lab:
    """Two steps a picture."""
    gallery = Gallery(base, Sampler(steps=2))
    probes = [*vocabulary.probes("cat", 2, 0), *vocabulary.probes("owl", 2, 0), *vocabulary.captions(2, 0)]
    return Lab(gallery, Sees(gallery, [probe.prompted for probe in probes]))  # type: ignore[arg-type]


def test_a_cell_compares_the_same_prompts_bare_and_erased(
    lab: Lab, base: BaseModel, spm: SpmFile, vocabulary: Vocabulary
) -> None:
    """Cats before, owls after; nothing identical, and intervals around both."""
    case = plan(vocabulary, ["cat"], [], pictures=2, seed=0)[0]
    cell = measure(lab, Membranes(base, always(Attached(spm, 1.0))), case)
    assert (cell.before.value, cell.after.value, cell.identical.value) == (1.0, 0.0, 0.0)
    assert cell.after.low == 0 < cell.after.high < 1
    assert cell.ssim_low <= cell.ssim <= cell.ssim_high < 1
    assert cell.clip_after is cell.kid is cell.fid is None


def test_an_evaluation_is_written_as_json_markdown_and_one_page(
    lab: Lab, base: BaseModel, spm: SpmFile, vocabulary: Vocabulary, tmp_path: Path
) -> None:
    """The three say the same, and the JSON file reads back to the record."""
    method = Membranes(base, always(Attached(spm, 1.0)), name="open membrane")
    erased = Erased(("cat",), "animal", ("sticker/cat",), "open", 1234, 56)
    found = evaluate(lab, method, erased, vocabulary, Size(2, 1, 2, 0), base="sticker")
    data, markdown, page = write_report([found], tmp_path)
    (read,) = [Evaluation.model_validate(each) for each in json.loads(data.read_text())]
    assert read == found.evaluation
    assert read.unlearning_accuracy == 1.0
    assert "**100.0 %**" in markdown.read_text()
    assert page.read_text().count("<figure>") == len(found.pairs) > 0
    assert "sticker/cat" in page.read_text()


def test_exported_pictures_stand_in_both_folders_under_the_names_of_the_table(
    lab: Lab, base: BaseModel, spm: SpmFile, vocabulary: Vocabulary, tmp_path: Path
) -> None:
    """One row a picture."""
    cases = plan(vocabulary, ["cat"], [], pictures=2, seed=0)[:1]
    table = export_pictures(lab.gallery, Membranes(base, always(Attached(spm, 1.0))), cases, tmp_path)
    header, *rows = table.read_text().splitlines()
    assert header == ",".join(COLUMNS)
    names = {row.split(",")[0] for row in rows}
    assert names == {path.name for path in (tmp_path / "bare").iterdir()}
    assert names == {path.name for path in (tmp_path / "erased").iterdir()}


def test_rates_of_roles_are_means_over_cells_and_the_largest_drop_is_no_targets() -> None:
    """UA, IRA and CRA from three cells."""
    cells = (
        cell("target", 1.0, 0.25),
        cell("neighbour", 1.0, 0.5),
        cell("in-domain", 1.0, 1.0),
        cell("cross-domain", 1.0, 0.75),
    )
    record = Evaluation(protocol="instance", setting=SETTING, cells=cells)
    assert record.unlearning_accuracy == 0.75
    assert record.in_domain_retain_accuracy == 0.75
    assert record.cross_domain_retain_accuracy == 0.75
    assert record.largest_drop == 0.5


def test_a_record_with_a_field_of_another_version_is_refused() -> None:
    """Rather than read in part."""
    with pytest.raises(ValidationError):
        Evaluation.model_validate({"protocol": "instance", "cells": [], "novel": 1})


def test_no_report_without_an_evaluation(tmp_path: Path) -> None:
    """Said, not written empty."""
    with pytest.raises(ValueError, match="no evaluation"):
        write_report([], tmp_path)


SETTING = {
    "method": "m",
    "gate": "open",
    "base": "b",
    "base_digest": "sha256:0",
    "judge": "sha256:1",
    "size": 64,
    "steps": 20,
    "guidance": 3.0,
    "seed": 0,
    "safegen": "0",
}


def cell(role: str, before: float, after: float) -> Cell:
    rates = {"before": rate(before), "after": rate(after), "identical": rate(0.0)}
    return Cell(role=role, name="n", asked="subject", pictures=4, ssim=1, ssim_low=1, ssim_high=1, **rates)  # type: ignore[arg-type]


def rate(value: float) -> Rate:
    return Rate(value=value, low=0, high=1)
