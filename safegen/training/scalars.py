"""Writes a run's losses where TensorBoard finds them, if it is installed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safegen.training.run import Progress, Report


@contextmanager
def tensorboard(folder: Path) -> Iterator[Report]:
    """A report for `train` that writes scalars into `folder`; one that does nothing if TensorBoard is missing."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        yield lambda _progress: None
        return
    writer = SummaryWriter(str(folder))

    def write(progress: Progress) -> None:
        for name in ("erasing", "anchoring", "rate", "anchor_weight"):
            writer.add_scalar(name, getattr(progress, name), progress.done)

    try:
        yield write
    finally:
        writer.close()
