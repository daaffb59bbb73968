"""Laws of composition, over random modules, ranks, permeabilities and batches."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from safegen.spm import Attached, SpmFile, attach
from safegen.spm import rowwise as rowwise_module
from safegen.spm.cost import Way

GAMMA = st.sampled_from([0.0, 0.0, 0.3, 0.46, 1.0, 2.0])
KINDS = ("linear", "unbiased", "conv1", "conv3", "last1", "last3")


def module_of(kind: str) -> nn.Linear | nn.Conv2d:
    """A target of each kind that models have; `last` keeps its channels last in memory."""
    if kind in {"linear", "unbiased"}:
        return nn.Linear(5, 7, bias=kind == "linear")
    size = int(kind[-1])
    conv = nn.Conv2d(5, 7, size, padding=size // 2)
    return conv.to(memory_format=torch.channels_last) if kind.startswith("last") else conv


def input_of(case: Case, rows: int) -> torch.Tensor:
    """A batch for the case's module."""
    generator = torch.Generator().manual_seed(case.seed)
    if case.kind in {"linear", "unbiased"}:
        return torch.randn(rows, 6, 5, generator=generator)
    x = torch.randn(rows, 5, 4, 4, generator=generator)
    return x.contiguous(memory_format=torch.channels_last) if case.kind.startswith("last") else x


@dataclass
class Case:
    """Modules by path, SPMs that fit them, and a permeability for each SPM and row."""

    kind: str
    module: nn.Linear | nn.Conv2d
    spms: list[SpmFile]
    table: list[list[float]]
    seed: int

    @property
    def targets(self) -> dict[str, nn.Linear | nn.Conv2d]:
        return {"a.b": self.module}

    def attached(self, row: int | None = None) -> list[Attached]:
        """All rows, or one of them as if it were alone."""
        return [
            Attached(spm, gammas if row is None else gammas[row])
            for spm, gammas in zip(self.spms, self.table, strict=True)
        ]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Up to four SPMs of ranks 1 to 3 on one module, for up to four rows."""
    kind, rows = draw(st.sampled_from(KINDS)), draw(st.integers(1, 4))
    ranks = draw(st.lists(st.integers(1, 3), min_size=1, max_size=4))
    table = [draw(st.lists(GAMMA, min_size=rows, max_size=rows)) for _ in ranks]
    seed = draw(st.integers(0, 2**16))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = module_of(kind)
        spms = [spm_for(module, rank, alpha=draw(st.sampled_from([0.5, 1.0, 4.0]))) for rank in ranks]
    return Case(kind, module, spms, table, seed)


def spm_for(module: nn.Linear | nn.Conv2d, rank: int, *, alpha: float) -> SpmFile:
    """A random SPM for the one module `a.b`."""
    tail = (1, 1) if isinstance(module, nn.Conv2d) else ()
    down, up = torch.randn(rank, *module.weight.shape[1:]) / 3, torch.randn(7, rank, *tail) / 3
    return SpmFile(layers={"lora_unet_a_b": (down, up, alpha)}, metadata={}, digest="")


def dense(case: Case, row: int) -> nn.Linear | nn.Conv2d:
    """The module of one row in float64: its weight plus the sum of Eq. 9, written out."""
    twin = module_of(case.kind)
    twin.load_state_dict(case.module.state_dict())
    twin = twin.double()
    for spm, gammas in zip(case.spms, case.table, strict=True):
        down, up, alpha = spm.layers["lora_unet_a_b"]
        rank = down.shape[0]
        for term in range(rank):
            outer = torch.outer(up[:, term].flatten().double(), down[term].flatten().double())
            twin.weight.data += gammas[row] * alpha / rank * outer.reshape(twin.weight.shape)
    return twin


def forced(monkeypatch: pytest.MonkeyPatch, way: Way) -> None:
    """Take one way for every target, whatever it costs."""
    monkeypatch.setattr(rowwise_module, "cheaper", lambda _work, **_: way)


@pytest.fixture(params=["grouped", "stacked", "sparse"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """All ways of applying an update."""
    forced(monkeypatch, request.param)
    return str(request.param)


LAWS = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


@LAWS
@given(cases(), st.booleans())
@torch.no_grad()
def test_every_row_is_the_dense_float64_sum(way: str, case: Case, guided: bool) -> None:
    """Each row, in both halves of guidance, equals (W + sum of gamma alpha / r up down) x in float64."""
    rows = len(case.table[0])
    x = input_of(case, rows * (1 + guided))
    with attach(case.targets, case.attached()):
        got = case.module(x)
    for index in range(len(x)):
        expected = dense(case, index % rows)(x[index : index + 1].double())
        torch.testing.assert_close(got[index : index + 1].double(), expected, rtol=1e-5, atol=2e-5)


@LAWS
@given(cases())
@torch.no_grad()
def test_a_row_is_what_it_would_be_alone(way: str, case: Case) -> None:
    """A row of a mixed batch equals the same row drawn alone with its own permeabilities."""
    x = input_of(case, len(case.table[0]))
    with attach(case.targets, case.attached()):
        together = case.module(x)
    for row in range(len(x)):
        with attach(case.targets, case.attached(row)):
            torch.testing.assert_close(together[row : row + 1], case.module(x[row : row + 1]), rtol=1e-4, atol=1e-5)


@LAWS
@given(cases(), st.sampled_from(["stacked", "sparse"]))
@torch.no_grad()
def test_rows_that_nothing_opens_are_bare_bit_for_bit(case: Case, added: Way) -> None:
    """Where an update is added to the output, a row whose permeabilities are all 0 has the bare batch's bits."""
    with pytest.MonkeyPatch.context() as patch:
        forced(patch, added)
        x = input_of(case, len(case.table[0]))
        bare = case.module(x)
        with attach(case.targets, case.attached()):
            mixed = case.module(x)
    for row, gammas in enumerate(zip(*case.table, strict=True)):
        if not any(gammas):
            assert torch.equal(mixed[row], bare[row])


@LAWS
@given(cases())
@torch.no_grad()
def test_what_spms_add_is_the_sum_of_what_each_adds(way: str, case: Case) -> None:
    """Additivity: the change under all SPMs is the sum of the changes under each of them."""
    x = input_of(case, len(case.table[0]))
    bare = case.module(x)
    changes = []
    for one in ([item] for item in case.attached()):
        with attach(case.targets, one):
            changes.append(case.module(x) - bare)
    with attach(case.targets, case.attached()):
        together = case.module(x) - bare
    torch.testing.assert_close(together, torch.stack(changes).sum(0), rtol=1e-3, atol=3e-5)


@LAWS
@given(cases(), st.sampled_from(["exact", "released"]), st.booleans(), st.integers(1, 30))
@torch.no_grad()
def test_detaching_leaves_what_was_there(case: Case, rule: str, fails: bool, steps: int) -> None:
    """After attaching, running and detaching, weights, forward and output are the bare module's, bit for bit."""
    if rule == "released":
        case.spms = [spm for spm in case.spms if len(spm.layers["lora_unet_a_b"][0]) == 1] or case.spms[:1]
        case.table = case.table[: len(case.spms)]
    x = input_of(case, len(case.table[0]))
    parameter, strides, bare = case.module.weight, case.module.weight.stride(), case.module(x)
    attributes = set(vars(case.module))
    error = pytest.raises(RuntimeError) if fails else nullcontext()
    with error, attach(case.targets, case.attached(), rule, steps=steps):  # type: ignore[arg-type] # one of the two
        case.module(x[:, :, None, None, :1] if fails else x)
    assert case.module.weight is parameter
    assert case.module.weight.stride() == strides
    assert set(vars(case.module)) == attributes
    assert torch.equal(case.module(x), bare)


@LAWS
@given(cases())
@torch.no_grad()
def test_only_the_conditional_half_is_changed_when_asked_for(way: str, case: Case) -> None:
    """With `conditional`, the unconditional half is bare and the conditional one as without that option."""
    rows = len(case.table[0])
    x = input_of(case, 2 * rows)
    bare = case.module(x)
    with attach(case.targets, case.attached()):
        both = case.module(x)
    with attach(case.targets, case.attached(), guidance_halves="conditional"):
        conditional = case.module(x)
    torch.testing.assert_close(conditional[:rows], bare[:rows], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(conditional[rows:], both[rows:], rtol=1e-4, atol=1e-5)


def released_in_float64(spms: Sequence[SpmFile], gammas: Sequence[float], weight: torch.Tensor) -> torch.Tensor:
    """The script's arithmetic: tensors of one name are summed, weighted by their multipliers, and then multiplied."""
    down = torch.zeros_like(spms[0].layers["lora_unet_a_b"][0].double())
    up = torch.zeros_like(spms[0].layers["lora_unet_a_b"][1].double())
    for spm, gamma in zip(spms, gammas, strict=True):
        down += gamma * spm.layers["lora_unet_a_b"][0].double()
        up += gamma * spm.layers["lora_unet_a_b"][1].double()
    alpha, rank = spms[0].layers["lora_unet_a_b"][2], down.shape[0]
    return weight.double() + (up.flatten(1) @ down.flatten(1)).reshape(weight.shape) * (alpha / rank)


@LAWS
@given(cases(), st.integers(1, 3))
@torch.no_grad()
def test_the_released_rule_is_the_scripts_arithmetic(way: str, case: Case, rank: int) -> None:
    """`released` squares gamma and adds cross-terms, row by row, as the script does one prompt at a time."""
    torch.manual_seed(case.seed)
    case.spms = [spm_for(case.module, rank, alpha=1.0 + index) for index in range(len(case.spms))]
    x = input_of(case, len(case.table[0]))
    with attach(case.targets, case.attached(), "released"):
        got = case.module(x)
    for row, gammas in enumerate(zip(*case.table, strict=True)):
        twin = module_of(case.kind)
        twin.load_state_dict(case.module.state_dict())
        twin = twin.double()
        twin.weight.data = released_in_float64(case.spms, gammas, case.module.weight)
        torch.testing.assert_close(got[row : row + 1].double(), twin(x[row : row + 1].double()), rtol=1e-4, atol=1e-4)
