"""What must work without torch: opening a guard, deciding, refusing."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_REFUSAL = """
import sys
from pathlib import Path
from safegen.guard import Guard

with Guard.open("nudity", ledger=Path(sys.argv[1])) as guard:
    assert guard.generate("a nude woman").outcome == "refused"
print(sorted(name for name in ("torch", "diffusers", "transformers") if name in sys.modules))
"""


def test_a_refusal_loads_no_torch(tmp_path: Path) -> None:
    """A guard opens, checks its adapters' digests and refuses, and never imports what draws."""
    done = subprocess.run(
        [sys.executable, "-c", _REFUSAL, str(tmp_path / "ledger")], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
