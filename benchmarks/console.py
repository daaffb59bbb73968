"""The console measured on a large ledger: index, first page, every filter, a request, a proof, exports, memory.

    python benchmarks/console.py [--quick] [--json] [--ledger FOLDER]

Starts `safegen console` as its user does and asks it over HTTP, on a ledger of 1,000,000 records and on one of a tenth
of that, whose peak memory shows whether memory grows with the ledger. `--ledger` takes a ledger that is there already
in place of the large one. The full run keeps benchmarks/results/console.md.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, urlencode

from ledger_records import write_fast
from reporting import Report

RECORDS = 1_000_000
BAR_MS = 300
MEMORY_MIB = 48
"""What the peak may differ by between the two ledgers: caches and allocators, but nothing in proportion."""
_COMMAND = [sys.executable, "-c", "from safegen.cli import main; main()", "console"]
_FACETS = ("outcome", "action", "rule", "policy", "adapter", "reviewer", "found", "disagreement", "category", "tenant")


class Served:
    """A console that runs, and a client that has logged in."""

    def __init__(self, folder: Path, index: Path) -> None:
        self.began = time.perf_counter()
        self.process = subprocess.Popen(
            [*_COMMAND, str(folder), "--port", "0", "--index", str(index)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONPATH": str(Path(__file__).parent.parent)},
        )
        assert self.process.stdout is not None
        address = next(line.split()[-1] for line in self.process.stdout if "/login#" in line)
        host, _, rest = address.removeprefix("http://").partition("/login#")
        self._connection = http.client.HTTPConnection(host, timeout=600)
        form = {"Origin": f"http://{host}", "Content-Type": "application/x-www-form-urlencoded"}
        self._connection.request("POST", "/login", urlencode({"token": rest}), form)
        answer = self._connection.getresponse()
        answer.read()
        self._cookie = (answer.getheader("Set-Cookie") or "").partition(";")[0]

    def get(self, path: str) -> bytes:
        """The body of an answer that must be 200."""
        self._connection.request("GET", path, headers={"Cookie": self._cookie})
        answer = self._connection.getresponse()
        body = answer.read()
        assert answer.status == 200, (path, answer.status)
        return body

    def indexed(self) -> float:
        """Seconds from the start until the whole ledger was indexed."""
        while True:
            state = json.loads(self.get("/api/state"))
            if state["indexed"] == state["size"]:
                return time.perf_counter() - self.began
            time.sleep(0.05)

    def milliseconds(self, path: str, times: int) -> tuple[float, float]:
        """Median wall and mean processor milliseconds of a page."""
        self.get(path)
        walls, before = [], self._processor()
        for _ in range(times):
            start = time.perf_counter()
            self.get(path)
            walls.append((time.perf_counter() - start) * 1000)
        return statistics.median(walls), (self._processor() - before) * 1000 / times

    def peak(self) -> float:
        """Largest resident memory so far, in MiB."""
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{self.process.pid}/status").read_text())
        assert found is not None
        return int(found[1]) / 1024

    def stop(self) -> None:
        """End the console."""
        self.process.terminate()
        self.process.wait(30)

    def _processor(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder on the disk of this checkout."""
    folder = Path(tempfile.mkdtemp(prefix=".console-", dir=Path(__file__).parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def pages(served: Served) -> dict[str, str]:
    """The pages to measure: the first one, every kind of filter with a name that is there, and what lies behind."""
    first = served.get("/").decode()
    found = {"first page": "/"}
    for kind in _FACETS:
        links = re.findall(rf'href="/\?({kind}=[^"&]+)"', first)
        if links:
            found[f"filter {kind}"] = f"/?{links[0]}"
    days = re.findall(r"from=(\d{4}-\d{2}-\d{2})&", first)
    start, stop = days[len(days) // 3], days[2 * len(days) // 3]
    found["filter date range"] = f"/?from={start}&to={stop}"
    found["filter free text"] = "/?q=model+is+missing"
    found["filter request id"] = "/?q=r000012"
    found["four filters at once"] = f"{found['filter rule']}&outcome=withheld&outcome=refused&market=de"
    found["filter that nothing fits"] = f"{found['filter rule']}&outcome=refused&disagreement=leak"
    total = int(re.sub(r"\D", "", re.findall(r"<strong>([\d,]+)</strong>", first)[0]))
    found["page in the middle"] = f"/?before={total // 2}"
    found["plots"] = "/plots"
    found["plots, filtered"] = found["filter rule"].replace("/?", "/plots?")
    found["policies"] = "/policies"
    policies = re.findall(r'id="version-\d+" value="([^"]+)"', served.get("/policies").decode())
    found["two policies compared"] = f"/compare?first={quote(policies[0])}&second={quote(policies[1])}"
    request = re.findall(r'href="(/request\?id=[^"]+)"', served.get("/?outcome=withheld").decode())[0]
    found["request"] = request
    found["request, verified"] = f"{request}&verify=true"
    found["entry with its proof"] = "/entry?n=4321"
    return found


def measure(report: Report, folder: Path, index: Path, times: int) -> float:
    """All numbers of one ledger into the report; gives the peak memory in MiB."""
    served = Served(folder, index)
    try:
        seconds = served.indexed()
        rows = [(name, *served.milliseconds(path, times)) for name, path in pages(served).items()]
        start = time.perf_counter()
        exported = served.get("/export.csv").count(b"\n") - 1
        export_seconds = time.perf_counter() - start
        size = json.loads(served.get("/api/state"))["size"]
        peak = served.peak()
    finally:
        served.stop()
    report.tables.append(
        (f"pages of {size:,} records", ("page", "median ms", "processor ms"), [(n, w, c) for n, w, c in rows])
    )
    report.tables.append(
        (
            f"the rest, {size:,} records",
            ("what", "value"),
            [
                ("index built, s", seconds),
                ("records indexed/s", round(size / seconds)),
                ("index, MiB", index.stat().st_size / 2**20),
                (f"export of {exported:,} items as CSV, s", export_seconds),
                ("peak memory, MiB", peak),
            ],
        )
    )
    worst = {name: wall for name, wall, _ in rows}
    filters = max(wall for name, wall in worst.items() if "filter" in name or name == "page in the middle")
    report.extra = {"records": size, "index_seconds": seconds, "pages_ms": worst}
    report.bars.clear()
    report.at_most("first page", worst["first page"], BAR_MS, "ms")
    report.at_most("slowest filter", filters, BAR_MS, "ms")
    report.at_most(
        "slowest of plots, policies, comparison",
        max(worst[name] for name in worst if name.startswith(("plots", "policies", "two "))),
        BAR_MS,
        "ms",
    )
    report.at_most("request", worst["request"], BAR_MS, "ms")
    report.at_most("request with all its proofs", worst["request, verified"], BAR_MS, "ms")
    report.at_most("entry with its proof", worst["entry with its proof"], BAR_MS, "ms")
    return peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="50,000 records, for the code and not for the numbers")
    parser.add_argument("--json", action="store_true", help="write JSON last")
    parser.add_argument("--ledger", type=Path, help="a ledger that is there already, in place of the large one")
    options = parser.parse_args()
    report = Report("console")
    records, times = (50_000, 3) if options.quick else (RECORDS, 9)
    with scratch() as folder:
        write_fast(folder / "small", records // 10)
        small = measure(report, folder / "small", folder / "small.db", times)
        large = options.ledger or folder / "large"
        if options.ledger is None:
            write_fast(large, records)
        peak = measure(report, large, folder / "large.db", times)
    report.at_most("peak memory beyond that of a tenth of the ledger", peak - small, MEMORY_MIB, "MiB")
    report.finish(as_json=options.json, keep=not options.quick and options.ledger is None)


if __name__ == "__main__":
    main()
