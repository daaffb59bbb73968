"""Who is using a model's modules right now, so that nobody draws through the membranes of somebody else.

Whoever attaches, even a closed bundle, has the model for itself: drawing without membranes while another thread has
some attached would be wrong silently. Others wait. Invariants: all targets are taken at once or none; one thread never
waits for itself; what is taken is given back on every way out.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakKeyDictionary

from torch import nn

from safegen.errors import AdapterError
from safegen.spm.membrane import Targets

_OCCUPIED: WeakKeyDictionary[nn.Module, tuple[int, str]] = WeakKeyDictionary()
_CHANGED = threading.Condition()


@contextmanager
def occupy(targets: Targets, *, names: str, patience_s: float) -> Iterator[None]:
    """Have the targets for oneself within the context.

    Args:
        targets: the modules, by path.
        names: what is attached, for the errors of others.
        patience_s: seconds to wait for another thread.

    Raises:
        AdapterError: this thread has them already, or another thread kept them for longer than `patience_s`.
    """
    thread = threading.get_ident()
    modules = list(targets.values())
    deadline = time.monotonic() + patience_s
    with _CHANGED:
        while holder := next((_OCCUPIED[module] for module in modules if module in _OCCUPIED), None):
            owner, others = holder
            if owner == thread:
                raise AdapterError(
                    f"SPMs are attached to this model already ({others})",
                    hint="attach all SPMs in one call; attachments do not nest",
                )
            if not _CHANGED.wait(deadline - time.monotonic()):
                raise AdapterError(
                    f"another thread has kept SPMs attached to this model for {patience_s:g} s ({others})",
                    hint="wait longer (`patience_s`), or load the model twice",
                )
        for module in modules:
            _OCCUPIED[module] = (thread, names)
    try:
        yield
    finally:
        with _CHANGED:
            for module in modules:
                _OCCUPIED.pop(module, None)
            _CHANGED.notify_all()
