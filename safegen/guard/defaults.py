"""What a guard takes where the caller names nothing: the shipped policies and the user's own ledger.

Invariant: a name is looked up among the shipped policies only, never as a path that leaves their folder.
"""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_state_path

from safegen.data import data_folder
from safegen.errors import PolicyError


def find_policy(policy: str | Path) -> Path:
    """The file of a policy: a path that exists, or the name of a shipped one.

    Raises:
        PolicyError: neither.
    """
    path = Path(policy)
    if path.is_file():
        return path
    shipped = data_folder("policies")
    named = shipped / f"{policy}.yaml"
    if named.parent == shipped and named.is_file():
        return named
    names = sorted(file.stem for file in shipped.glob("*.yaml") if not file.stem.endswith("_test"))
    raise PolicyError(
        f"there is no policy file {str(policy)!r}", hint=f"give a path, or one of the shipped: {', '.join(names)}"
    )


def default_ledger() -> Path:
    """The ledger that is used when none is named: in the user's state folder, or `SAFEGEN_LEDGER`."""
    named = os.environ.get("SAFEGEN_LEDGER")
    return Path(named) if named else user_state_path("safegen") / "ledger"


def default_events() -> tuple[str, ...]:
    """Where the ledger's records also go as events: `SAFEGEN_EVENTS`, e.g. `stdout,syslog`; nowhere by default."""
    return tuple(target for target in os.environ.get("SAFEGEN_EVENTS", "").split(",") if target.strip())
