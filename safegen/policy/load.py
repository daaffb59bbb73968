"""Loading a policy from YAML text, with every problem reported at once.

Invariants: `load_policy` touches no disk and gives a consistent `Policy` or raises a `PolicyError`, never anything
else.
"""

from __future__ import annotations

from pathlib import Path

from safegen.errors import PolicyError
from safegen.policy.checks import semantic_problems
from safegen.policy.diagnostics import DiagnosedSemanticError, DiagnosedSyntaxError
from safegen.policy.document import LARGEST_FILE, read_document
from safegen.policy.model import Policy
from safegen.policy.wording import shape_problems


def load_policy(text: str | bytes, *, source: str) -> Policy:
    """Read a policy.

    Args:
        text: YAML; bytes must be UTF-8.
        source: how to name the text in messages, usually its path.

    Raises:
        PolicySyntaxError: the text is no YAML or not of the policy format; its `diagnostics` list every problem.
        PolicySemanticError: the policy is well formed and says something impossible; likewise.
    """
    document = read_document(text, source)
    problems = [*document.problems, *shape_problems(document.data), *semantic_problems(document.data)]
    if not problems:
        return Policy.model_validate(document.data)
    diagnostics = sorted(dict.fromkeys(map(document.diagnose, problems)), key=lambda one: (one.line, one.column))
    if all(problem.semantic for problem in problems):
        raise DiagnosedSemanticError(diagnostics)
    raise DiagnosedSyntaxError(diagnostics)


def load_policy_file(path: str | Path) -> Policy:
    """Read a policy file; see `load_policy`.

    Raises:
        PolicyError: the file cannot be read, or `load_policy` rejects it.
    """
    try:
        with Path(path).open("rb") as file:
            text = file.read(LARGEST_FILE + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise PolicyError(f"cannot read the policy: {reason}", where=str(path)) from error
    return load_policy(text, source=str(path))
