"""Loading a policy from YAML text, with every problem of every file that it rests on reported at once.

Invariants: `load_policy` touches no disk and gives a consistent `Policy` or raises a `PolicyError`, never anything
else.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from safegen.errors import PolicyError
from safegen.policy.checks import semantic_problems
from safegen.policy.diagnostics import DiagnosedSemanticError, DiagnosedSyntaxError, Diagnostic
from safegen.policy.document import LARGEST_FILE, read_document
from safegen.policy.lookups import MOST_PROBLEMS
from safegen.policy.model import Policy
from safegen.policy.overlays import Layers, Reader
from safegen.policy.wording import shape_problems


def load_policy(text: str | bytes, *, source: str, read: Reader | None = None) -> Policy:
    """Read a policy, and those that it extends.

    Args:
        text: YAML; bytes must be UTF-8.
        source: how to name the text in messages, usually its path.
        read: gives the text of a path that `extends` names; it may raise `OSError`. Without it nothing can be extended.

    Raises:
        PolicySyntaxError: a text is no YAML or not of the policy format; its `diagnostics` list every problem.
        PolicySemanticError: the policy is well formed and says something impossible; likewise.
    """
    with _no_collection():
        loaded = _load(text, source, read)
    if isinstance(loaded, PolicyError):
        raise loaded
    return loaded


def _load(text: str | bytes, source: str, read: Reader | None) -> Policy | PolicyError:
    """The policy or what is wrong with it; an error that is not raised keeps no tree alive for the collector."""
    layers = Layers(read_document, read)
    layers.add(text, source)
    diagnostics: list[Diagnostic] = []
    malformed = layers.malformed
    for document in layers.documents:
        problems = [*document.problems, *islice(shape_problems(document.data), MOST_PROBLEMS)]
        malformed |= any(not problem.semantic for problem in problems)
        diagnostics += map(document.diagnose, problems)
    if layers.complete and len(diagnostics) < MOST_PROBLEMS:
        data = layers.merged()
        diagnostics += [layers.diagnose(problem) for problem in islice(semantic_problems(data), MOST_PROBLEMS)]
        if not diagnostics and not layers.diagnostics:
            return Policy.model_validate(data, context="checked")
    diagnostics += layers.diagnostics
    files = {document.source: at for at, document in enumerate(layers.documents)}
    ordered = sorted(
        dict.fromkeys(diagnostics), key=lambda one: (files.get(one.file, len(files)), one.line, one.column)
    )
    return (DiagnosedSyntaxError if malformed else DiagnosedSemanticError)(ordered)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Spare the garbage collector from looking again and again through a tree that grows and has no garbage."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def load_policy_file(path: str | Path, *, read: Reader | None = None) -> Policy:
    """Read a policy file, and those that it extends; see `load_policy`.

    Args:
        path: the file.
        read: gives the bytes of a path, as `read_file` does, which it is by default.

    Raises:
        PolicyError: the file cannot be read, or `load_policy` rejects it.
    """
    read = read or read_file
    return load_policy(contents(path, "the policy", read), source=str(path), read=read)


def contents(path: str | Path, what: str, read: Reader | None = None) -> str | bytes:
    """What a file holds; `what` names it in the message if it cannot be read.

    Raises:
        PolicyError: it cannot be read.
    """
    try:
        return (read or read_file)(str(path))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise PolicyError(f"cannot read {what}: {reason}", where=str(path)) from error


def read_file(path: str | Path) -> bytes:
    """The bytes of a policy file, at most one more than a policy may have.

    Raises:
        OSError: it cannot be read.
        ValueError: the path is none.
    """
    with Path(path).open("rb") as file:
        return file.read(LARGEST_FILE + 1)
