"""The forgery table: every shipped vector, before both verifiers."""

from __future__ import annotations

import base64
import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

from reporting import Report

from safegen.errors import LedgerTamperedError
from safegen.ledger import verify_ledger, verify_tlog_proof

AUDIT = Path(__file__).parents[1] / "audit"


def forgery_table(report: Report) -> None:
    """Count what each verifier caught, and whether it said what the forgery's name says."""
    second = _second()
    index: dict[str, Any] = json.loads((AUDIT / "vectors" / "vectors.json").read_text(encoding="utf-8"))
    rows, caught, forged = [], 0, 0
    for vector in index["logs"]:
        path = AUDIT / "vectors" / f"{vector['name']}.jsonl"
        wanted = set(vector["problems"])
        ours = {one.name for one in verify_ledger(path, index["key"], known_checkpoints=vector["kept"]).problems}
        theirs = {one["name"] for one in second.verify_log(path, index["key"], vector["kept"])["problems"]}
        rows.append(
            (vector["name"], ", ".join(sorted(wanted)) or "none", _verdict(ours, wanted), _verdict(theirs, wanted))
        )
        forged += bool(wanted)
        caught += bool(wanted) and ours == theirs == wanted
    proofs = [_proof(second, vector, index["key"]) for vector in index["proofs"]]
    rows.append((f"{len(proofs)} proofs", "as named", f"{sum(a for a, _ in proofs)}", f"{sum(b for _, b in proofs)}"))
    report.tables.append(("forgeries", ("vector", "must show", "safegen", "audit/verify.py"), rows))
    report.at_least("forgeries caught by both verifiers under their own name", caught / forged, 1)


def _verdict(found: set[str], wanted: set[str]) -> str:
    return "as named" if found == wanted else f"NOT: {', '.join(sorted(found)) or 'none'}"


def _proof(second: ModuleType, vector: dict[str, Any], key: str) -> tuple[bool, bool]:
    """Whether each verifier was right about one proof."""
    record = base64.b64decode(vector["record"])
    try:
        verify_tlog_proof(vector["proof"], record, key)
        taken = True
    except LedgerTamperedError:
        taken = False
    names = [one["name"] for one in second.verify_proof(vector["proof"], record, key)["problems"]]
    return taken == (vector["problem"] is None), names == ([vector["problem"]] if vector["problem"] else [])


def _second() -> ModuleType:
    spec = importlib.util.spec_from_file_location("second_verifier", AUDIT / "verify.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
