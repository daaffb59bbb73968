"""A progress bar for drawing, in the shape of the callback that a guard calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

DrawingProgress = Callable[[int, int], None]


@contextmanager
def drawing_progress(*, quiet: bool) -> Iterator[DrawingProgress | None]:
    """Show the denoising steps on standard error while the context is open; nothing if `quiet`."""
    if quiet:
        yield None
        return
    columns = (TextColumn("drawing"), BarColumn(), TextColumn("step {task.completed}/{task.total}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("drawing", total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
