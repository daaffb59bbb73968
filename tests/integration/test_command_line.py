"""`safegen generate` and `safegen demo` as a user types them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path


def safegen(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from safegen.cli import main; main()", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment}, check=False)


def test_importing_safegen_loads_no_torch() -> None:
    """The package itself is light: neither torch nor diffusers nor pydantic is loaded by its import."""
    code = "import sys, safegen; sys.exit(bool({'torch', 'diffusers', 'pydantic'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_generate_writes_picture_sheet_result_and_receipt(tmp_path: Path) -> None:
    """One command from prompt to receipt, with the shipped policy and both shipped reviewers."""
    done = safegen(
        "generate", "a cat in the style of noto", "--seed", "3", "--steps", "8", "--out", str(tmp_path / "out"),
        "--ledger", str(tmp_path / "ledger"), "--json",
    )  # fmt: skip
    assert done.returncode in {0, 3}, done.stderr
    result = json.loads(done.stdout)
    assert result["decision"]["action"] == "erase"
    assert {review["reviewer"] for review in result["images"][0]["reviews"]} == {"open_clip", "nudenet"}
    names = {path.name.removeprefix(result["request_id"]) for path in (tmp_path / "out").iterdir()}
    assert {".json", ".receipt.json", ".sheet.png"} <= names
    verified = safegen("audit", "verify", str(tmp_path / "ledger"))
    assert verified.returncode == 0, verified.stdout


def test_a_refusal_exits_with_3_and_says_why(tmp_path: Path) -> None:
    """The reason is on the terminal, the exit code says refused."""
    done = safegen("generate", "a nude wizard", "--out", str(tmp_path), "--ledger", str(tmp_path / "ledger"))
    assert done.returncode == 3
    assert "not drawn here" in done.stdout


def test_a_known_error_is_one_message_and_exit_1(tmp_path: Path) -> None:
    """No traceback for bad input."""
    done = safegen("generate", "a dog", "--n", "0", "--out", str(tmp_path), "--ledger", str(tmp_path / "ledger"))
    assert done.returncode == 1
    assert "n is 0" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_shipped_registry_verifies() -> None:
    """Every digest in the index is that of the file it names."""
    done = safegen("spm", "verify", "--json")
    assert done.returncode == 0, done.stdout
    kinds = [each["kind"] for each in json.loads(done.stdout)]
    assert [kinds.count(kind) for kind in ("base", "reviewer", "judge")] == [3, 1, 1]
    assert kinds.count("adapter") == 172
