"""Checkpoints of a training run: safetensors for tensors, JSON for numbers, replaced atomically.

Invariants: a kill at any moment leaves the previous checkpoint whole; nothing is ever unpickled; what is loaded is
exactly what was saved (weights, averages, optimiser moments, step), so a resumed run continues the same trajectory.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from safegen.errors import TrainingError


def save(
    path: Path, *, step: int, models: dict[str, nn.Module], optimiser: torch.optim.Optimizer, **numbers: Any
) -> None:
    """Write one checkpoint file, replacing an older one at the same path atomically.

    Raises:
        TrainingError: it cannot be written; the older one is left as it was.
    """
    tensors: dict[str, torch.Tensor] = {}
    for name, model in models.items():
        tensors |= {f"{name}/{key}": value.contiguous().clone() for key, value in model.state_dict().items()}
    for index, moments in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser/{index}/{key}": torch.as_tensor(value).contiguous() for key, value in moments.items()}
    partial = path.with_suffix(".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(tensors, partial, metadata={"state": json.dumps({"step": step, **numbers})})
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    except (OSError, SafetensorError) as error:
        hint = "free some space, or choose another folder with --out; the checkpoint before it is whole"
        raise TrainingError(f"the checkpoint cannot be written: {error}", where=str(path), hint=hint) from error


def load(path: Path, *, models: dict[str, nn.Module], optimiser: torch.optim.Optimizer) -> int:
    """Load a checkpoint into the models and the optimiser; return the step it was taken at, 0 if there is none.

    Raises:
        TrainingError: the file is damaged, or belongs to a run of another shape.
    """
    if not path.is_file():
        return 0
    try:
        tensors = load_file(path)
        for name, model in models.items():
            model.load_state_dict(_under(tensors, name))
    except Exception as error:
        raise TrainingError(
            f"the checkpoint does not fit this run: {error}",
            where=str(path),
            hint="delete it to start anew, or resume with the settings it was made with",
        ) from error
    state = optimiser.state_dict()
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in _under(tensors, "optimiser").items():
        index, name = key.split("/")
        moments.setdefault(int(index), {})[name] = value
    optimiser.load_state_dict({"state": moments, "param_groups": state["param_groups"]})
    return int(read_numbers(path)["step"])


def read_numbers(path: Path) -> dict[str, Any]:
    """The numbers saved beside the tensors (at least `step`)."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        numbers: dict[str, Any] = json.loads(file.metadata()["state"])
    return numbers


def _under(tensors: dict[str, torch.Tensor], name: str) -> dict[str, torch.Tensor]:
    prefix = f"{name}/"
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
