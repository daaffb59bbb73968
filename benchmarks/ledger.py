"""The ledger measured: durable records a second, its share of a generate() call, verification, crashes, forgeries.

    python benchmarks/ledger.py [--quick] [--json] [--postgresql URL] [--only PART ...] [--resume]

Each part takes at most some minutes and keeps its result in benchmarks/results/ledger.json; `--resume` runs only those
that are missing there. benchmarks/results/ledger.md shows all that are kept. Rates are of the wall clock; where the
machine is shared, the processor time beside them says what an idle core would give. What the console needs of a large
ledger is measured by benchmarks/console.py.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from multiprocessing.connection import Connection
from pathlib import Path

from ledger_crash import crash_table
from ledger_forgeries import AUDIT, forgery_table
from ledger_records import write_fast, write_request
from reporting import RESULTS, Bar, Report

from safegen.ledger import Ledger, LedgerReader, read_public_key, verify_ledger, verify_tlog_proof

WRITERS = 4
Folder = Path


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder on the disk of this checkout, so that a sync is a real one."""
    folder = Path(tempfile.mkdtemp(prefix=".ledger-", dir=Path(__file__).parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def batch_writer(folder: Path, name: str, start: threading.Barrier, counts: list[int], seconds: float) -> None:
    """One process that appends whole requests, `counts[0]` of them with each commit, until the time is over."""
    done = 0
    with Ledger.open(folder) as ledger:
        start.wait(60)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            batch = [record for one in range(counts[0]) for record in write_request(f"{name}-{done}-{one}")]
            ledger.append_many(batch)
            done += len(batch)
    (folder / f"count-{name}").write_text(str(done))


def thread_writer(folder: Path, name: str, start: threading.Barrier, counts: list[int], seconds: float) -> None:
    """One process whose `counts[0]` threads append single records, each waiting until its own is durable."""
    done = [0] * counts[0]

    def work(thread: int) -> None:
        while time.monotonic() < end:
            for record in write_request(f"{name}-{thread}-{done[thread]}"):
                ledger.append(record)
                done[thread] += 1

    with Ledger.open(folder) as ledger:
        start.wait(60)
        end = time.monotonic() + seconds
        threads = [threading.Thread(target=work, args=(number,)) for number in range(counts[0])]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    (folder / f"count-{name}").write_text(str(sum(done)))


def writers(
    folder: Path, target: Callable[..., None], each: int, seconds: float, database: str | None = None
) -> tuple[float, bool]:
    """Durable records a second of all writers together, and whether the ledger verifies and has them all."""
    Ledger.open(folder, database=database).close()
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(WRITERS + 1)
    processes = [
        context.Process(target=target, args=(folder, f"w{number}", start, [each], seconds)) for number in range(WRITERS)
    ]
    for process in processes:
        process.start()
    start.wait(60)
    began = time.monotonic()
    for process in processes:
        process.join()
    elapsed = time.monotonic() - began
    written = sum(int(path.read_text()) for path in folder.glob("count-*"))
    with Ledger.open(folder) as ledger:
        ledger.checkpoint()
        report = verify_ledger(folder, ledger.verifier_key)
    return written / elapsed, report.ok and report.size == written


def appends_on_postgresql(report: Report, seconds: float, url: str) -> None:
    """The same work on an empty PostgreSQL database."""
    with scratch() as folder:
        rate, whole = writers(folder, batch_writer, 32, seconds, url)
    row = ("4 processes, 32 requests a commit", round(rate), "yes" if whole else "NO")
    report.tables.append(("durable appends on PostgreSQL", ("writers", "records/s", "all there, verified"), [row]))
    report.at_least("durable records/s on PostgreSQL, 4 writers with batching", row[1], 3000, "1/s")


def appends(report: Report, seconds: float) -> None:
    """Writers with batches, writers with threads that share commits, and one writer alone."""
    rows = []
    for label, target, each in (
        ("4 processes, 32 requests a commit", batch_writer, 32),
        ("4 processes of 32 threads, one record an append", thread_writer, 32),
        ("4 processes, one request a commit", batch_writer, 1),
    ):
        with scratch() as folder:
            rate, whole = writers(folder, target, each, seconds)
        rows.append((label, round(rate), "yes" if whole else "NO"))
    report.tables.append(("durable appends on SQLite", ("writers", "records/s", "all there, verified"), rows))
    report.at_least("durable records/s, 4 writers with batching", rows[0][1], 3000, "1/s")
    report.at_least("durable records/s, 4 x 32 threads sharing commits", rows[1][1], 3000, "1/s")


def single(report: Report, count: int) -> None:
    """Latency of one append by one writer, and what of it is the sync of the disk."""
    times = []
    with scratch() as folder, Ledger.open(folder) as ledger:
        for number in range(count // 5):
            for record in write_request(f"r{number}"):
                began = time.perf_counter()
                ledger.append(record)
                times.append(time.perf_counter() - began)
    times.sort()
    sync = sync_seconds(count)
    row = [times[len(times) // 2] * 1e3, times[int(len(times) * 0.99)] * 1e3, sync * 1e3]
    report.tables.append(
        ("one append, one writer", ("median ms", "p99 ms", "a bare fsync, median ms"), [[round(one, 3) for one in row]])
    )
    report.at_most("one append, p99, beyond three bare syncs", row[1] - 3 * row[2], 10, "ms")


def sync_seconds(count: int) -> float:
    """Median time to make 4 KiB durable on this disk."""
    import os

    times = []
    with scratch() as folder, (folder / "sync").open("wb", buffering=0) as file:
        for _ in range(count):
            file.write(b"x" * 4096)
            began = time.perf_counter()
            os.fsync(file.fileno())
            times.append(time.perf_counter() - began)
    return sorted(times)[count // 2]


def verified_alone(folder: Path) -> tuple[float, float, float]:
    """Seconds of the clock, seconds of the processor, and MiB of memory to verify a ledger, in a process of its own."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_verify_and_send, args=(folder, sender))
    process.start()
    found: tuple[float, float, float] = receiver.recv()
    process.join()
    return found


def _verify_and_send(folder: Path, sender: Connection) -> None:
    verify_ledger(AUDIT / "vectors" / "valid.jsonl", read_public_key(folder))
    before = peak_memory()
    wall, processor = time.perf_counter(), time.process_time()
    result = verify_ledger(folder, read_public_key(folder))
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    assert result.ok, result.problems
    sender.send((wall, processor, peak_memory() - before))


def peak_memory() -> float:
    """Largest resident memory of this process so far, in MiB (Linux; getrusage would count the parent's too)."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def large(report: Report, size: int) -> None:
    """Verification and proofs in a log of `size` records."""
    with scratch() as folder:
        size = write_fast(folder, size)
        key = read_public_key(folder)
        wall, processor, grown = verified_alone(folder)
        with LedgerReader.open_read_only(folder) as reader:
            times = []
            for index in range(0, size, max(1, size // 200)):
                began = time.perf_counter()
                text = reader.prove(index, key).to_tlog_proof()
                times.append(time.perf_counter() - began)
                verify_tlog_proof(text, next(reader.entries(index, index + 1)).body, key)
    proof = sorted(times)[int(len(times) * 0.99)] * 1e3
    row = (size, round(size / wall), round(size / processor), round(grown, 1), round(proof, 3))
    columns = ("records", "verified/s", "verified/s of processor time", "memory grown, MiB", "proof p99, ms")
    report.tables.append(("a large log", columns, [row]))
    report.at_least("verified records/s", row[1], 50_000, "1/s")
    report.at_least("verified records/s of processor time", row[2], 50_000, "1/s")
    report.at_most("proof in the large log, p99", proof, 10, "ms")
    report.at_most("memory grown while verifying, a record", grown * 2**20 / size, 64, "bytes")


def generate(report: Report, calls: int) -> None:
    """What share of real calls is spent waiting for the ledger."""
    from safegen.guard import Guard

    rows = []
    with scratch() as folder, Guard.open("default", ledger=folder / "ledger") as guard:
        for prompt in ("a dog in the style of noto", "a cat in the style of noto"):
            guard.generate(prompt, seed=1)
            waited, whole = [], []
            for seed in range(calls):
                began = time.perf_counter()
                result = guard.generate(prompt, seed=seed)
                whole.append(time.perf_counter() - began)
                waited.append(result.seconds["record"])
            share = sum(waited) / sum(whole)
            rows.append((prompt, calls, round(sum(whole) / calls * 1e3, 1), round(sum(waited) / calls * 1e3, 2), share))
    report.tables.append(
        ("a generate() call", ("prompt", "calls", "ms a call", "ms spent in the ledger", "share"), rows)
    )
    report.at_most("share of a generate() call spent in the ledger", max(row[4] for row in rows), 0.01)


def queries(report: Report, size: int) -> None:
    """Reading a large ledger into tables, and every saved query over it."""
    from safegen.ledger.analysis import saved_queries

    with scratch() as folder:
        written = write_fast(folder, size)
        with LedgerReader.open_read_only(folder) as reader:
            began = time.perf_counter()
            analysis = reader.analyse()
            rows = [("(reading all entries into tables)", written, round(time.perf_counter() - began, 2))]
            for name, query in saved_queries(AUDIT / "queries").items():
                began = time.perf_counter()
                answer = analysis.ask_saved(query, {})
                rows.append((name, len(answer.rows), round(time.perf_counter() - began, 3)))
            analysis.close()
    report.tables.append((f"saved queries over {written:,} records", ("query", "rows", "s"), rows))


def crash(report: Report, kills: int) -> None:
    """The crash table, in a folder of its own."""
    with scratch() as folder:
        crash_table(report, folder, kills=kills)


def parts(*, quick: bool, postgresql: str | None) -> dict[str, Callable[[Report], None]]:
    """The parts by name, in the order in which they run."""
    found: dict[str, Callable[[Report], None]] = {
        "appends": lambda report: appends(report, 3 if quick else 20),
        "postgresql": lambda report: appends_on_postgresql(report, 3 if quick else 20, postgresql or ""),
        "latency": lambda report: single(report, 100 if quick else 2000),
        "generate": lambda report: generate(report, 3 if quick else 25),
        "verify": lambda report: large(report, 20_000 if quick else 1_000_000),
        "queries": lambda report: queries(report, 20_000 if quick else 1_000_000),
        "crash": lambda report: crash(report, 5 if quick else 300),
        "forgeries": forgery_table,
    }
    if postgresql is None:
        del found["postgresql"]
    return found


KEPT = RESULTS / "ledger.json"


def kept_parts() -> dict[str, dict[str, list[object]]]:
    """Results of the parts that were run before, by name."""
    return json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.exists() else {}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="under a minute; nothing is kept")
    parser.add_argument("--json", action="store_true", help="write JSON last")
    parser.add_argument("--postgresql", metavar="URL", help="an empty database to do the same work on")
    parser.add_argument("--only", action="append", metavar="PART", help="run this part, one or several times")
    parser.add_argument("--resume", action="store_true", help="run only what has no kept result yet")
    options = parser.parse_args()
    available = parts(quick=options.quick, postgresql=options.postgresql)
    if unknown := set(options.only or ()) - available.keys():
        parser.error(f"no part {min(unknown)}; there are {', '.join(available)} (postgresql needs --postgresql)")
    kept = kept_parts() if options.resume or options.only else {}
    for name, run in available.items():
        if (options.only and name not in options.only) or (options.resume and name in kept):
            continue
        print(f"{name} ...", file=sys.stderr)
        one = Report("ledger")
        run(one)
        kept[name] = {
            "tables": [[title, list(columns), [list(row) for row in rows]] for title, columns, rows in one.tables],
            "bars": [asdict(bar) for bar in one.bars],
        }
        if not options.quick:
            KEPT.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    report = Report("ledger")
    for name in available:
        report.tables += [(title, columns, rows) for title, columns, rows in kept.get(name, {}).get("tables", [])]
        report.bars += [Bar(**bar) for bar in kept.get(name, {}).get("bars", [])]
    report.finish(as_json=options.json, keep=not options.quick)


if __name__ == "__main__":
    main()
