"""`safegen audit`, as an auditor runs it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from safegen.cli.audit import app
from safegen.ledger import Ledger, LedgerKeys, LedgerReader
from tests.unit.ledger.test_verify import flip_a_bit, forge

if TYPE_CHECKING:
    from tests.unit.ledger.conftest import FakeClock


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "200"})
    return result.exit_code, result.output


def test_verify_an_honest_ledger(full_folder: Path) -> None:
    """An honest ledger gives exit code 0 and a warning that the key came with it."""
    code, output = run("verify", full_folder)
    assert code == 0
    assert "No tampering found" in output
    assert "own folder" in output
    assert "3 released" in output


def test_verify_with_a_trusted_key(full_folder: Path) -> None:
    """The key may be a file or the text itself, and then nothing is warned about."""
    key = (full_folder / "ledger.pub").read_text().strip()
    for given in (key, full_folder / "ledger.pub"):
        code, output = run("verify", full_folder, "--key", given)
        assert (code, "own folder" in output) == (0, False)


def test_verify_a_forged_ledger(full_folder: Path) -> None:
    """Tampering gives exit code 4 and its name, also as JSON."""
    forge(full_folder, flip_a_bit)
    code, output = run("verify", full_folder)
    assert code == 4
    assert "entry.altered at 7" in output
    code, output = run("verify", full_folder, "--json")
    assert (code, json.loads(output)["ok"]) == (4, False)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(("verify", "nowhere"), 1), (("show", "nowhere"), 1), (("verify", ".", "--key", "x"), 1), (("verify",), 2)],
)
def test_errors_and_usage(arguments: tuple[str, ...], code: int) -> None:
    """A ledger that is not there is exit code 1, a wrong command line 2."""
    assert run(*arguments)[0] == code


def test_show_lists_requests(full_folder: Path) -> None:
    """The list tells time, action, outcome, policy, and adapters with their gamma, newest first."""
    code, output = run("show", full_folder)
    assert code == 0
    for word in ("request-2", "prevent", "released", "default 1", "mascot (0.75)"):
        assert word in output
    code, output = run("show", full_folder, "--json", "--limit", "2")
    assert [request["request_id"] for request in json.loads(output)] == ["request-2", "request-1"]


def test_show_one_request(full_folder: Path) -> None:
    """One request is shown with all its stages."""
    code, output = run("show", full_folder, "request-1", "--json")
    stages = [entry["record"]["stage"] for entry in json.loads(output)]
    assert (code, stages) == (0, ["requested", "decided", "drawn", "reviewed", "closed"])
    assert "reviewed" in run("show", full_folder, "request-1")[1]
    assert run("show", full_folder, "request-9")[0] == 1


def test_check_a_receipt(full_folder: Path, keys: LedgerKeys, clock: FakeClock, tmp_path: Path) -> None:
    """A receipt is checked offline, against a record however it is laid out; a forged one gives exit code 4."""
    with Ledger.open(full_folder, keys=keys, clock=clock) as ledger:
        receipt, record = ledger.receipt(4), next(ledger.entries(4)).record
    file, body = tmp_path / "receipt.json", tmp_path / "record.json"
    file.write_text(receipt.to_json())
    body.write_text(record.model_dump_json(indent=4))
    key = full_folder / "ledger.pub"
    assert run("receipt", file, "--key", key)[0] == 0
    assert run("receipt", file, "--key", key, "--record", body)[0] == 0
    file.write_text(receipt.model_copy(update={"index": 3}).to_json())
    assert run("receipt", file, "--key", key)[0] == 4
    body.write_text("{")
    assert run("receipt", file, "--key", key, "--record", body)[0] == 1


def test_reading_needs_no_private_key(full_folder: Path) -> None:
    """A ledger without its keys.json is read and verified, and not a byte of it changes."""
    names = ("ledger.db", "ledger.pub", "checkpoint")
    before = [(full_folder / name).read_bytes() for name in names]
    assert not (full_folder / "keys.json").exists()
    assert run("verify", full_folder)[0] == 0
    with LedgerReader.open_read_only(full_folder) as reader:
        assert reader.size == 15
    assert [(full_folder / name).read_bytes() for name in names] == before


def test_frozen_medium_is_read(full_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ledger on a medium that cannot be written is verified, and nothing is left beside it."""
    before = sorted(full_folder.iterdir())
    monkeypatch.setattr("safegen.ledger.store._is_frozen", lambda path: path.name == "ledger.db")
    assert run("verify", full_folder)[0] == 0
    assert sorted(full_folder.iterdir()) == before


def test_schema_command_writes_the_shipped_schema() -> None:
    """`safegen audit schema` writes exactly the file in audit/schema."""
    shipped = Path(__file__).parents[3] / "audit" / "schema" / "record.schema.json"
    assert run("schema") == (0, shipped.read_text(encoding="utf-8"))


def test_records_of_a_newer_version_are_shown_as_they_are(full_folder: Path) -> None:
    """A record that this version cannot read hides nothing else: it is shown raw, safely, and named as not readable."""
    newer = b'{"schema_version":3,"stage":"dreamt","note":"\x1b[31m"}'
    forge(full_folder, lambda one: one.execute('UPDATE entries SET body = ? WHERE "index" = 7', (newer,)))
    code, output = run("show", full_folder)
    assert code == 0
    assert "1 records not readable" in output
    assert "request-2" in output
    code, output = run("show", full_folder, "request-1")
    assert code == 0
    assert "7 not readable" in output
    assert "\x1b" not in output
    entries = json.loads(run("show", full_folder, "request-1", "--json")[1])
    assert entries[2]["unreadable"] == newer.decode()
    assert entries[4]["record"]["stage"] == "closed"
