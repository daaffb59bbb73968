"""A few hundred mutated files; benchmarks/spm_fuzz.py runs 10,000 others."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import torch
from torch import nn

from benchmarks.spm_mutations import MUTATIONS, mutate
from benchmarks.spm_outcome import State, verdict
from safegen.spm import MembraneSet, write_spm
from tests.families import family_model

FIRST, COUNT = 1_000_000, 15 * len(MUTATIONS)


def test_mutated_files_are_refused_by_name_or_attached_whole(tmp_path: Path) -> None:
    """None crashes or attaches in part, each refusal names file and remedy, and the model stays as it was."""
    model = family_model("sd1")
    torch.manual_seed(0)
    membranes = MembraneSet(model.targets(), rank=1)
    for membrane in membranes.membranes:
        nn.init.normal_(membrane.up)
    digest = write_spm(tmp_path / "good", membranes, {"family": "sd1", "prompts": "cat", "rank": 1})
    content, state = (tmp_path / "good").read_bytes(), State(model.targets())
    outcomes: Counter[str] = Counter()
    for number in range(FIRST, FIRST + COUNT):
        name, mutated = mutate(content, number)
        if mutated != content:
            outcome, detail = verdict(tmp_path / "mutated", mutated, digest, state)
            assert outcome != "fault", f"{number}, {name}: {detail}"
            outcomes[detail or outcome] += 1
    assert not state.damaged()
    assert outcomes.total() > 0.95 * COUNT
    assert {"attached", "adapter.header", "adapter.family", "adapter.half", "adapter.rank", "adapter.key"} <= set(
        outcomes
    )
