"""The crash table: `kill -9` at random moments of a run of several processes.

Each writer appends the records of requests and, once the last one is durable, acknowledges the request outside of the
ledger (a line with a sync of its own); an image stands for what must not leave without a record: it is written after
`closed` only. After each kill a new run begins, recovers, and the folder is held against what was acknowledged. A kill
cannot show a missing sync, as the system keeps its page cache; tests/integration/test_ledger_power_loss.py does.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import time
from collections import Counter
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ledger_records import write_request
from reporting import Report

from safegen.ledger import Closed, Ledger, LedgerReader, read_public_key, verify_ledger

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

WRITERS = 3
RECORD = 8


def work(folder: Path, name: str) -> None:
    """Write requests until killed."""
    number = 0
    descriptor = os.open(folder / f"acknowledged-{name}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    with Ledger.open(folder / "ledger") as ledger:
        while True:
            request = f"{name}-{number}"
            records = write_request(request)
            ledger.begin_append(partial(list, records[:2])).result()
            receipt = ledger.append_signed(records[2:])
            (folder / "images" / request).touch()
            checkpoint = receipt.checkpoint if number % RECORD == 0 else None
            line = [request, receipt.index, receipt.leaf_hash, checkpoint]
            os.write(descriptor, json.dumps(line).encode() + b"\n")
            os.fsync(descriptor)
            number += 1


def crash_table(report: Report, folder: Path, *, kills: int) -> None:
    """Kill `kills` times; then count what was lost."""
    (folder / "images").mkdir()
    Ledger.open(folder / "ledger").close()
    randomness = random.Random(9)
    context = multiprocessing.get_context("fork")
    losses: Counter[str] = Counter()
    alive: dict[str, BaseProcess] = {}
    recovered = 0
    for kill in range(kills):
        while len(alive) < WRITERS:
            name = f"k{kill}-{len(alive)}-{randomness.randrange(10**9)}"
            alive[name] = context.Process(target=work, args=(folder, name))
            alive[name].start()
        time.sleep(randomness.uniform(0.02, 0.4))
        victim = randomness.choice(sorted(alive))
        process = alive.pop(victim)
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        losses += _lost(folder, victim)
        if kill % 50 == 49 or kill == kills - 1:
            for process in alive.values():
                process.kill()
                process.join()
            for name in alive:
                losses += _lost(folder, name)
            alive = {}
            recovered += _recover(folder, losses)
    rows = [(kills, losses["acknowledged"], losses["records lost"], losses["images without a record"],
             losses["forks"], losses["requests left open"], recovered)]  # fmt: skip
    columns = ("kills", "acknowledged requests", "records lost", "images without a record", "forks or tampering",
               "requests left open", "requests recovered")  # fmt: skip
    report.tables.append(("kill -9", columns, rows))
    report.at_least("kill -9 at random moments", kills, kills, "kills")
    lost = sum(rows[0][2:6])
    report.at_most("lost, forked or left open after a kill", lost, 0, "records")


def _lost(folder: Path, name: str) -> Counter[str]:
    """What one killed writer had acknowledged and the ledger does not have."""
    path = folder / f"acknowledged-{name}"
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    losses: Counter[str] = Counter()
    with LedgerReader.open_read_only(folder / "ledger") as reader:
        for line in lines:
            request, index, leaf, _ = json.loads(line)
            entries = reader.find(request)
            losses["acknowledged"] += 1
            losses["records lost"] += not entries or (entries[-1].index, entries[-1].leaf_hash.hex()) != (index, leaf)
    return losses


def _recover(folder: Path, losses: Counter[str]) -> int:
    """Close what is open, then verify all, and that every image has its `closed` record."""
    kept = [
        checkpoint
        for path in folder.glob("acknowledged-*")
        for line in path.read_text().splitlines()
        if (checkpoint := json.loads(line)[3])
    ]
    with Ledger.open(folder / "ledger") as ledger:
        recovered = len(ledger.recover(grace=timedelta(days=-10_000)))
        ledger.checkpoint()
        losses["requests left open"] += len(ledger.open_requests())
        for image in (folder / "images").iterdir():
            ended = any(isinstance(entry.record, Closed) for entry in ledger.find(image.name))
            losses["images without a record"] += not ended
    key = read_public_key(folder / "ledger")
    losses["forks"] += len(verify_ledger(folder / "ledger", key, known_checkpoints=kept).problems)
    return recovered
