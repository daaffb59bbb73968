"""`safegen console` fails with one sentence where it cannot start."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from typer.testing import CliRunner

from safegen.cli import app


def run(*arguments: object) -> tuple[int, str]:
    """Exit code and output of the command."""
    result = CliRunner().invoke(app, ["console", *map(str, arguments)])
    return result.exit_code, result.output


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--host", "0.0.0.0"], "can be reached from other machines"),  # noqa: S104 - refused
        (["--key", "not a key"], "not an Ed25519 verifier key"),
        (["--images", "/nowhere/at/all"], "no folder of images"),
        (["--host", "192.0.2.1", "--allow-remote"], "cannot listen"),
    ],
)
def test_what_cannot_be_done_is_said(folder: Path, tmp_path: Path, options: list[str], said: str) -> None:
    """A wrong option is an error of one sentence, never a traceback."""
    code, output = run(folder, "--index", tmp_path / "i.db", *options)
    assert code == 1
    assert said in output
    assert "Traceback" not in output


def test_no_ledger_is_said(tmp_path: Path) -> None:
    """A folder without a ledger is an error with a hint."""
    code, output = run(tmp_path)
    assert code == 1
    assert "hint" in output


def test_a_port_that_is_taken_is_said(folder: Path, tmp_path: Path) -> None:
    """Another program at the port is an error that names the option."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, output = run(folder, "--index", tmp_path / "i.db", "--port", taken.getsockname()[1])
    assert code == 1
    assert "--port" in output
