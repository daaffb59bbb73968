"""The whole-ledger verification runs beside the console and says how it ended."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

from safegen.ledger import read_public_key
from safegen.serve.console.verification import VerificationJob, VerificationState


def finished(job: VerificationJob) -> VerificationState:
    """The state once it has ended."""
    end = time.monotonic() + 120
    while job.state.phase == "running" and time.monotonic() < end:
        time.sleep(0.05)
    return job.state


def test_a_whole_ledger_is_found_whole(folder: Path) -> None:
    """The report of the process arrives, with what it counted."""
    job = VerificationJob(folder, read_public_key(folder))
    assert job.state.phase == "idle"
    job.start()
    state = finished(job)
    assert state.phase == "done"
    assert state.report is not None
    assert state.report.ok
    assert state.checked == state.size == 23


def test_tampering_is_reported(folder: Path) -> None:
    """A changed record shows in the report under its name."""
    with sqlite3.connect(folder / "ledger.db") as raw:
        raw.execute("DROP TRIGGER entries_no_update")
        raw.execute("UPDATE entries SET body = replace(body, 'released', 'withheld') WHERE \"index\" = 4")
    job = VerificationJob(folder, read_public_key(folder))
    job.start()
    report = finished(job).report
    assert report is not None
    assert {problem.name for problem in report.problems} >= {"entry.altered"}


def test_a_ledger_that_cannot_be_read_is_said_so(tmp_path: Path, folder: Path) -> None:
    """No report, but the reason why there is none."""
    job = VerificationJob(tmp_path / "nowhere", read_public_key(folder))
    job.start()
    state = finished(job)
    assert state.phase == "failed"
    assert "no ledger" in state.problem
