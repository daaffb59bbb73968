"""Two threads, one model: nobody draws through the membranes of somebody else."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

from safegen.errors import AdapterError
from safegen.spm import Attached, SpmFile, attach


def spm(value: float) -> SpmFile:
    return SpmFile({"lora_unet_a": (torch.full((1, 3), value), torch.ones(2, 1), 1.0)}, {}, "")


def test_threads_that_attach_different_sets_each_get_their_own() -> None:
    """Open, mixed and closed sets, attached in turns by four threads, give what each gives alone."""
    module = nn.Linear(3, 2)
    x = torch.randn(2, 1, 3)
    sets = [
        [Attached(spm(1.0), 1.0)],
        [Attached(spm(2.0), [0.5, 0.0])],
        [Attached(spm(1.0), 0.0)],
        [Attached(spm(3.0), [1.0, 2.0]), Attached(spm(1.0), 0.3)],
    ]

    def run(spms: list[Attached]) -> torch.Tensor:
        with torch.no_grad(), attach({"a": module}, spms):
            return module(x)

    alone = [run(spms) for spms in sets]
    own = module.weight
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(run, sets * 50))
    for index, result in enumerate(results):
        assert torch.equal(result, alone[index % 4])
    assert module.weight is own


def test_a_closed_set_waits_too() -> None:
    """A thread whose set is closed does not run while another has membranes in the model."""
    module, entered, leave = nn.Linear(3, 2), threading.Event(), threading.Event()

    def hold() -> None:
        with attach({"a": module}, [Attached(spm(1.0), 1.0, "held")]):
            entered.set()
            leave.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    assert entered.wait(30)
    try:
        with (
            pytest.raises(AdapterError, match=r"another thread has kept SPMs attached .* \(held\)"),
            attach({"a": module}, [Attached(spm(1.0), 0.0)], patience_s=0.01),
        ):
            pass
    finally:
        leave.set()
        thread.join()
    with attach({"a": module}, [Attached(spm(1.0), 0.0)]) as active:
        assert active == 0


def test_sets_on_modules_of_two_models_do_not_wait_for_each_other() -> None:
    """Only whoever shares a module waits."""
    one, other = nn.Linear(3, 2), nn.Linear(3, 2)
    with attach({"a": one}, [Attached(spm(1.0), 1.0)]), attach({"a": other}, [Attached(spm(1.0), 1.0)]) as active:
        assert active == 1
