"""What breaks in the world: damaged files, clocks that go back, ids that come twice, records from the future."""

from __future__ import annotations

import json
import random
import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from safegen.cli import app
from safegen.errors import LedgerError, LedgerWriteError
from safegen.ledger import Ledger, LedgerKeys, LedgerReader, verify_ledger
from tests.unit.ledger.conftest import FakeClock, requested, whole_request
from tests.unit.ledger.test_verify import forge, public_key

COMMANDS = (["verify"], ["show"], ["show", "request-1"], ["query", "outcomes"], ["keys"])


def outcomes(folder: Path, scratch: Path) -> list[tuple[str, int]]:
    """Exit codes of every command that reads; none may end in a traceback."""
    found = []
    for name, *arguments in (*COMMANDS, ["export", str(scratch / "x.jsonl")], ["report", str(scratch / "x.html")]):
        result = CliRunner().invoke(app, ["audit", name, str(folder), *arguments])
        assert result.exception is None or isinstance(result.exception, SystemExit), (name, result.exception)
        found.append((name, result.exit_code))
    return found


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.7, 0.99])
def test_a_truncated_database_is_an_error_and_never_a_traceback(
    full_folder: Path, tmp_path: Path, share: float
) -> None:
    """Wherever the file is cut off: reading says so, verification does not pass, and nothing is written over it."""
    LedgerReader.open_read_only(full_folder).close()
    database = full_folder / "ledger.db"
    content = database.read_bytes()
    database.write_bytes(content[: int(len(content) * share)])
    assert dict(outcomes(full_folder, tmp_path))["verify"] in {1, 4}
    assert database.read_bytes() == content[: int(len(content) * share)]


@pytest.mark.parametrize("seed", range(6))
def test_a_corrupt_database_is_an_error_or_found_by_verification(full_folder: Path, tmp_path: Path, seed: int) -> None:
    """Pages overwritten at random: no command ends in a traceback, and what still verifies is what was written."""
    whole = [entry.body for entry in LedgerReader.open_read_only(full_folder).entries()]
    database = full_folder / "ledger.db"
    content, chance = bytearray(database.read_bytes()), random.Random(seed)
    for _ in range(3):
        place = chance.randrange(100, len(content) - 200)
        content[place : place + 200] = chance.randbytes(200)
    database.write_bytes(content)
    outcomes(full_folder, tmp_path)
    try:
        report = verify_ledger(full_folder, public_key())
    except LedgerError:
        return
    if report.ok:
        assert [entry.body for entry in LedgerReader.open_read_only(full_folder).entries()] == whole


def test_records_of_a_newer_version_are_reported_and_hide_nothing(full_folder: Path, tmp_path: Path) -> None:
    """An entry that this version cannot read is named; every command still shows the others."""
    newer = b'{"schema_version":99,"stage":"dreamt","note":"\x1b[31m<script>alert(1)</script>"}'
    forge(full_folder, lambda one: one.execute('UPDATE entries SET body = ? WHERE "index" = 7', (newer,)))
    assert dict(outcomes(full_folder, tmp_path)) == {
        "verify": 4, "show": 0, "query": 0, "keys": 0, "export": 0, "report": 4,
    }  # fmt: skip
    names = {problem.name for problem in verify_ledger(full_folder, public_key()).problems}
    assert "entry.unreadable" in names
    page = (tmp_path / "x.html").read_text()
    assert "<script>alert" not in page


def test_a_clock_that_goes_back_loses_nothing(ledger: Ledger, clock: FakeClock) -> None:
    """Order is that of the entries: earlier times are written as they are, and nobody is taken for dead by them."""
    ledger.append(requested("before", ledger.now()))
    clock.advance(days=-2)
    ledger.append(requested("after", ledger.now()))
    assert ledger.recover(grace=timedelta(minutes=15)) == []
    times = [entry.record.time for entry in ledger.entries()]
    assert times[0] > times[1]
    clock.advance(days=3)
    assert len(ledger.recover(grace=timedelta(minutes=15))) == 2
    ledger.checkpoint()
    assert verify_ledger(ledger.folder, ledger.verifier_key).ok


def test_an_id_that_comes_twice_is_refused_whoever_brings_it(ledger: Ledger, folder: Path, keys: LedgerKeys) -> None:
    """Within one call, from the same process or another, open or ended: the first request keeps its id."""
    ledger.append_many(whole_request("ended"))
    ledger.append(requested("open"))
    with Ledger.open(folder, keys=keys) as other:
        for name in ("ended", "open"):
            with pytest.raises(LedgerWriteError, match="request"):
                other.append(requested(name))
    with pytest.raises(LedgerWriteError, match="twice"):
        ledger.append_many([requested("new"), requested("new")])
    assert (ledger.size, ledger.find("new")) == (6, [])


def test_a_checkpoint_of_an_unknown_key_is_named(full_folder: Path) -> None:
    """A published checkpoint that somebody else signed is tampering, for verification and for the writer."""
    foreign = LedgerKeys.generate("example.com/ledger").sign(15, b"\x22" * 32).text
    (full_folder / "checkpoint").write_text(foreign)
    result = CliRunner().invoke(app, ["audit", "verify", str(full_folder), "--json"])
    problems = {problem["name"] for problem in json.loads(result.stdout)["problems"]}
    assert (result.exit_code, problems) == (4, {"checkpoint.signature"})


def test_a_copied_folder_is_read_where_nothing_may_be_written(full_folder: Path, tmp_path: Path) -> None:
    """Evidence on a medium that only reads: verification needs no lock file beside it."""
    copy = tmp_path / "evidence"
    shutil.copytree(full_folder, copy)
    for path in (*copy.iterdir(), copy):
        path.chmod(0o500 if path.is_dir() else 0o400)
    assert verify_ledger(copy, public_key()).ok
    copy.chmod(0o700)
