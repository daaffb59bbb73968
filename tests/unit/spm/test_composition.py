"""Attaching SPMs: exact sums, and bit-for-bit restoration."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from safegen.errors import AdapterError, AdapterMismatchError
from safegen.spm import Attached, MembraneSet, SpmFile, attach, composition, read_spm, write_spm


def modules() -> dict[str, nn.Linear | nn.Conv2d]:
    torch.manual_seed(0)
    return {"a.linear": nn.Linear(6, 4), "b.conv": nn.Conv2d(3, 5, 3, padding=1)}


def random_spm(path: Path, targets: dict[str, nn.Linear | nn.Conv2d], rank: int, alpha: float, seed: int) -> SpmFile:
    torch.manual_seed(seed)
    membranes = MembraneSet(targets, rank=rank, alpha=alpha)
    for membrane in membranes.membranes:
        nn.init.normal_(membrane.up)
    write_spm(path, membranes, {"prompts": "x"})
    return read_spm(path)


def test_composition_is_the_papers_sum(tmp_path: Path) -> None:
    """W' = W + sum of gamma * alpha / r * up down, for mixed ranks, against a float64 transcription."""
    targets = modules()
    spms = [random_spm(tmp_path / f"{rank}.safetensors", targets, rank, 1.5, rank) for rank in (1, 3)]
    gammas = (0.7, 0.3)
    expected = targets["a.linear"].weight.detach().double().clone()
    for spm, gamma in zip(spms, gammas, strict=True):
        down, up, alpha = spm.layers["lora_unet_a_linear"]
        expected += gamma * (alpha / down.shape[0]) * (up.double() @ down.double())
    with attach(targets, [Attached(spm, gamma) for spm, gamma in zip(spms, gammas, strict=True)]) as active:
        assert active == 2
        assert torch.allclose(targets["a.linear"].weight.double(), expected, atol=1e-6)


def test_folding_equals_the_membranes_own_path(tmp_path: Path) -> None:
    """For Linear and Conv2d alike, folded weights give what W x + gamma * membrane(x) gives."""
    targets = modules()
    torch.manual_seed(1)
    membranes = MembraneSet(targets, rank=2, alpha=1.0)
    for membrane in membranes.membranes:
        nn.init.normal_(membrane.up)
    write_spm(tmp_path / "m.safetensors", membranes, {})
    inputs = {"a.linear": torch.randn(2, 6), "b.conv": torch.randn(2, 3, 8, 8)}
    with membranes.open(targets, gamma=0.4):
        hooked = {name: targets[name](x) for name, x in inputs.items()}
    with attach(targets, [Attached(read_spm(tmp_path / "m.safetensors"), 0.4)]):
        folded = {name: targets[name](x) for name, x in inputs.items()}
    for name in targets:
        assert torch.allclose(hooked[name], folded[name], atol=1e-5)


def test_weights_are_the_same_objects_afterwards_even_after_an_error(tmp_path: Path) -> None:
    """Detaching puts back the very Parameter objects, also when the body raises."""
    targets = modules()
    spm = random_spm(tmp_path / "s.safetensors", targets, 1, 1.0, 1)
    before = {name: (module.weight, module.weight.detach().clone()) for name, module in targets.items()}
    with pytest.raises(ZeroDivisionError), attach(targets, [Attached(spm, 1.0)]):
        raise ZeroDivisionError
    for name, (parameter, values) in before.items():
        assert targets[name].weight is parameter
        assert torch.equal(targets[name].weight, values)


def test_gamma_zero_touches_nothing(tmp_path: Path) -> None:
    """An SPM at permeability 0 leaves the modules' own weights in place."""
    targets = modules()
    spm = random_spm(tmp_path / "s.safetensors", targets, 1, 1.0, 1)
    own = targets["a.linear"].weight
    with attach(targets, [Attached(spm, 0.0)]) as active:
        assert active == 0
        assert targets["a.linear"].weight is own


def test_a_second_attachment_is_refused_and_harms_nothing(tmp_path: Path) -> None:
    """Two guards on one model get a clear error, and the first one's weights stay and go as they should."""
    targets = modules()
    spm = random_spm(tmp_path / "s.safetensors", targets, 1, 1.0, 1)
    own = targets["a.linear"].weight
    with (
        attach(targets, [Attached(spm, 1.0, "first")]),
        pytest.raises(AdapterError, match="attached to this model already \\(first\\)"),
        attach(targets, [Attached(spm, 1.0)]),
    ):
        pass
    assert targets["a.linear"].weight is own
    with attach(targets, [Attached(spm, 1.0)]) as active:
        assert active == 1


def test_an_adapter_of_another_model_is_refused_whole(tmp_path: Path) -> None:
    """Layers without a counterpart, and layers of another shape, are errors before anything is attached."""
    spm = random_spm(tmp_path / "s.safetensors", modules(), 1, 1.0, 1)
    with (
        pytest.raises(AdapterMismatchError, match="no counterpart"),
        attach({"a.linear": nn.Linear(6, 4)}, [Attached(spm, 1.0)]),
    ):
        pass
    other = {"a.linear": nn.Linear(7, 4), "b.conv": nn.Conv2d(3, 5, 3)}
    with pytest.raises(AdapterMismatchError, match="its target's weight"), attach(other, [Attached(spm, 1.0)]):
        pass


def test_an_error_while_attaching_puts_back_what_was_swapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Running out of memory at the second module leaves the first as it was, and the model free."""
    targets = modules()
    spm = random_spm(tmp_path / "s.safetensors", targets, 1, 1.0, 1)
    own = targets["a.linear"].weight
    done: list[str] = []

    def failing(weight: torch.Tensor, *_: object, **__: object) -> torch.Tensor:
        if done:
            raise MemoryError
        done.append("a.linear")
        return weight.detach().clone()

    with monkeypatch.context() as patch:
        patch.setattr(composition, "folded", failing)
        with pytest.raises(MemoryError), attach(targets, [Attached(spm, 1.0)]):
            pass
    assert targets["a.linear"].weight is own
    with attach(targets, [Attached(spm, 1.0)]) as active:
        assert active == 1


def test_a_forward_that_somebody_put_in_place_is_put_back(tmp_path: Path) -> None:
    """An offloading hook's own `forward` acts while membranes do, and is there again afterwards."""
    targets = modules()
    spm = random_spm(tmp_path / "s.safetensors", targets, 1, 1.0, 1)
    linear = targets["a.linear"]
    calls: list[int] = []

    def hooked(x: torch.Tensor) -> torch.Tensor:
        calls.append(len(x))
        return nn.Linear.forward(linear, x)

    linear.forward = hooked  # type: ignore[method-assign]
    with torch.no_grad(), attach(targets, [Attached(spm, [1.0, 0.0])]):
        linear(torch.randn(2, 6))
    assert calls == [2]
    assert linear.forward is hooked


def test_a_batch_of_other_rows_is_an_error(tmp_path: Path) -> None:
    """Two permeabilities fit two rows or four (guidance), and nothing else."""
    targets = modules()
    spm = random_spm(tmp_path / "s.safetensors", targets, 1, 1.0, 1)
    with torch.no_grad(), attach(targets, [Attached(spm, [1.0, 0.0])]):
        assert targets["a.linear"](torch.randn(4, 6)).shape == (4, 4)
        with pytest.raises(AdapterError, match="given for 2 rows, the model is run on a batch of 3"):
            targets["a.linear"](torch.randn(3, 6))
    with (
        pytest.raises(AdapterError, match="3 rows has no two halves"),
        attach(targets, [Attached(spm, 1.0)], guidance_halves="conditional"),
    ):
        targets["a.linear"](torch.randn(3, 6))


def test_gradients_flow_through_a_mixed_batch(tmp_path: Path) -> None:
    """Without `no_grad`, the input of a row that an SPM acts on gets the gradient of W + gamma * up down."""
    targets = modules()
    spm = random_spm(tmp_path / "s.safetensors", targets, 1, 1.0, 1)
    x = torch.randn(2, 6, requires_grad=True)
    with attach(targets, [Attached(spm, [1.0, 0.0])]):
        targets["a.linear"](x).sum().backward()
    down, up, _ = spm.layers["lora_unet_a_linear"]
    weight = targets["a.linear"].weight.detach()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, torch.stack([(weight + up @ down).sum(0), weight.sum(0)]))


def test_weights_that_are_not_there_are_refused() -> None:
    """An offloaded model's weights cannot be folded, and the error says so."""
    with torch.device("meta"):
        module = nn.Linear(3, 2)
    spm = SpmFile({"lora_unet_a": (torch.ones(1, 3), torch.ones(2, 1), 1.0)}, {}, "")
    with pytest.raises(AdapterError, match="not loaded"), attach({"a": module}, [Attached(spm, 1.0)]):
        pass


@pytest.mark.parametrize("steps", [1, 20])
def test_half_precision_weights_keep_their_type(steps: int) -> None:
    """bfloat16 modules give bfloat16, however the SPM is applied."""
    module = nn.Linear(3, 2).to(torch.bfloat16)
    spm = SpmFile({"lora_unet_a": (torch.ones(1, 3), torch.ones(2, 1), 1.0)}, {}, "")
    x = torch.randn(2, 1, 3).to(torch.bfloat16)
    with torch.no_grad(), attach({"a": module}, [Attached(spm, 1.0)], steps=steps):
        got = module(x)
    assert got.dtype == torch.bfloat16
    expected = torch.nn.functional.linear(x.float(), module.weight.float() + 1, module.bias.float())
    torch.testing.assert_close(got.float(), expected, rtol=2e-2, atol=2e-2)
