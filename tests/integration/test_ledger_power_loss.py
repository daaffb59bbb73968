"""Power loss: the ledger on a file layer that drops or tears whatever was not synced, at every write point.

Killing a process cannot show a missing sync, as the system keeps its page cache. Here SQLite runs on a VFS in Python
that keeps two images of each file: what was written and what was synced. A loss at write point N leaves, for each file,
the synced image, with the un-synced writes dropped, kept in part, or the last of them torn in the middle.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from safegen.errors import LedgerError
from safegen.ledger import Ledger, LedgerKeys, Record, canonical_bytes, store, verify_ledger
from safegen.ledger.publishing import Publisher
from tests.unit.ledger.conftest import FakeClock, counting_random, whole_request

apsw: Any = pytest.importorskip("apsw", reason="the power-loss file layer is written with apsw (pip install apsw)")

Loss = Callable[["Disk", "File", random.Random], bytes]


class PowerLossError(Exception):
    """The power is gone."""


@dataclass
class File:
    """One file: its synced bytes, and the writes since."""

    synced: bytearray = field(default_factory=bytearray)
    written: bytearray = field(default_factory=bytearray)
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)

    def write(self, offset: int, data: bytes | None) -> None:
        """Write data, or cut the file off at the offset."""
        apply(self.written, offset, data)
        self.pending.append((offset, data))

    def sync(self) -> None:
        self.synced = bytearray(self.written)
        self.pending.clear()


def apply(content: bytearray, offset: int, data: bytes | None) -> None:
    if data is None:
        del content[offset:]
        return
    content.extend(b"\0" * (offset - len(content)))
    content[offset : offset + len(data)] = data


@dataclass
class Disk:
    """A disk that loses power at its Nth write point; every write, cut and sync counts as one."""

    limit: int | None = None
    ignored_syncs: frozenset[str] = frozenset()
    files: dict[str, File] = field(default_factory=dict)
    points: int = 0

    def point(self) -> None:
        self.points += 1
        if self.limit is not None and self.points >= self.limit:
            raise PowerLossError

    def kind(self, name: str) -> str:
        return "wal" if name.endswith("-wal") else "database"

    def after_loss(self, lose: Loss, randomness: random.Random) -> dict[str, bytes]:
        """What is on the disk when power returns."""
        return {name: lose(self, file, randomness) for name, file in self.files.items()}


def dropped(disk: Disk, file: File, randomness: random.Random) -> bytes:
    """Nothing that was not synced is there."""
    return bytes(file.synced)


def some_kept(disk: Disk, file: File, randomness: random.Random) -> bytes:
    """Any of the un-synced writes may have reached the disk, and any may not."""
    content = bytearray(file.synced)
    for offset, data in file.pending:
        if randomness.random() < 0.5:
            apply(content, offset, data)
    return bytes(content)


def torn(disk: Disk, file: File, randomness: random.Random) -> bytes:
    """All un-synced writes are there, but the last one only in part."""
    content = bytearray(file.synced)
    for offset, data in file.pending[:-1]:
        apply(content, offset, data)
    for offset, data in file.pending[-1:]:
        apply(content, offset, data if data is None else data[: randomness.randrange(len(data) + 1)])
    return bytes(content)


def vfs_of(disk: Disk) -> tuple[Any, Any]:  # noqa: C901 - one method a line of SQLite's interface
    """A VFS over the disk, which keeps the shared memory and locks of the real one by exclusive locking."""

    class Handle:
        def __init__(self, name: str) -> None:
            self.name = name
            self.file = disk.files.setdefault(name, File())

        def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802
            return bytes(self.file.written[offset : offset + amount])

        def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
            disk.point()
            self.file.write(offset, bytes(data))

        def xTruncate(self, size: int) -> None:  # noqa: N802
            disk.point()
            self.file.write(size, None)

        def xSync(self, flags: int) -> None:  # noqa: N802
            disk.point()
            if disk.kind(self.name) not in disk.ignored_syncs:
                self.file.sync()

        def xFileSize(self) -> int:  # noqa: N802
            return len(self.file.written)

        def xClose(self) -> None:  # noqa: N802
            pass

        def xLock(self, level: int) -> None:  # noqa: N802
            pass

        def xUnlock(self, level: int) -> None:  # noqa: N802
            pass

        def xCheckReservedLock(self) -> bool:  # noqa: N802
            return False

        def xFileControl(self, operation: int, pointer: int) -> bool:  # noqa: N802
            return False

        def xSectorSize(self) -> int:  # noqa: N802
            return 512

        def xDeviceCharacteristics(self) -> int:  # noqa: N802
            return 0

    class Layer(apsw.VFS):  # type: ignore[misc]
        def __init__(self) -> None:
            self.label = f"power-loss-{id(disk)}"
            super().__init__(self.label, "")

        def xOpen(self, name: Any, flags: list[int]) -> Handle:  # noqa: N802
            path = name.filename() if hasattr(name, "filename") else str(name)
            flags[1] = flags[0]
            return Handle(Path(path).name)

        def xDelete(self, name: str, sync: bool) -> None:  # noqa: N802
            disk.point()
            disk.files.pop(Path(name).name, None)

        def xAccess(self, name: str, flags: int) -> bool:  # noqa: N802
            return Path(name).name in disk.files

        def xFullPathname(self, name: str) -> str:  # noqa: N802
            return name

    layer = Layer()
    return layer, layer.label


class Cursor:
    """What SQLAlchemy needs of a DB-API cursor, over apsw."""

    def __init__(self, connection: Any) -> None:
        self._cursor = connection.cursor()
        self._rows: list[Any] = []
        self.description: Any = None
        self.rowcount = self.lastrowid = -1
        self.arraysize = 1

    def execute(self, statement: str, parameters: Any = ()) -> Cursor:
        return self._run(lambda: self._cursor.execute(statement, tuple(parameters)))

    def executemany(self, statement: str, many: Any) -> Cursor:
        return self._run(lambda: self._cursor.executemany(statement, [tuple(one) for one in many]))

    def _run(self, step: Callable[[], Any]) -> Cursor:
        try:
            self._cursor.exec_trace = self._describe
            step()
            self._rows = list(self._cursor)
        except (apsw.Error, PowerLossError) as error:
            raise store.sqlite3.OperationalError(repr(error)) from error
        return self

    def _describe(self, cursor: Any, statement: str, parameters: Any) -> bool:
        columns = cursor.get_description()
        self.description = [(*column[:2], None, None, None, None, None) for column in columns] or None
        return True

    def fetchone(self) -> Any:
        return self._rows.pop(0) if self._rows else None

    def fetchall(self) -> list[Any]:
        rows, self._rows = self._rows, []
        return rows

    def fetchmany(self, size: int = 1) -> list[Any]:
        rows, self._rows = self._rows[:size], self._rows[size:]
        return rows

    def close(self) -> None:
        self._rows = []


class Connection:
    """What SQLAlchemy needs of a DB-API connection, over apsw on the power-loss layer."""

    isolation_level = None

    def __init__(self, disk: Disk, name: str) -> None:
        self._layer, label = vfs_of(disk)
        try:
            self._connection = apsw.Connection(name, vfs=label)
            for statement in ("PRAGMA locking_mode = EXCLUSIVE", "PRAGMA wal_autocheckpoint = 6"):
                self.execute(statement)
        except (apsw.Error, PowerLossError) as error:
            raise store.sqlite3.OperationalError(repr(error)) from error

    def cursor(self) -> Cursor:
        return Cursor(self._connection)

    def execute(self, statement: str) -> Cursor:
        return self.cursor().execute(statement)

    def create_function(self, *arguments: Any, **options: Any) -> None:
        pass

    def commit(self) -> None:
        if self._connection.in_transaction:
            self.execute("COMMIT")

    def rollback(self) -> None:
        if self._connection.in_transaction:
            self.execute("ROLLBACK")

    def close(self) -> None:
        with suppress(apsw.Error, PowerLossError):
            self._connection.close()


@dataclass
class Run:
    """What a ledger promised before the power went."""

    entries: dict[int, bytes] = field(default_factory=dict)
    checkpoints: list[str] = field(default_factory=list)


@contextmanager
def ledger_on(disk: Disk, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    with monkeypatch.context() as patch:
        patch.setattr(store, "_open_file", lambda path, **_: Connection(disk, path.name))
        patch.setattr(Publisher, "soon", Publisher.now)  # this disk takes one connection at a time
        keys = LedgerKeys.generate("example.com/ledger", random=counting_random())
        with Ledger.open(folder, keys=keys, clock=FakeClock()) as ledger:
            yield ledger


def work(disk: Disk, folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fill a ledger until the work is done or the power is gone, noting what it acknowledged."""
    expected = () if disk.limit is None else (LedgerError,)
    with suppress(*expected), ledger_on(disk, folder, monkeypatch) as ledger:
        for number in range(3):
            records = whole_request(f"r{number}")
            for batch in (records[:1], records[1:4], records[4:]):
                run.entries.update({entry.index: entry.body for entry in ledger.append_many(batch)})
            run.checkpoints.append(ledger.checkpoint().text)
        for number in range(3, 6):  # as a guard does it: two commits, the last one signed
            begun, ended = as_the_guard(f"r{number}")
            run.entries.update({entry.index: entry.body for entry in ledger.begin_append(begun).result()})
            receipt = ledger.append_signed(ended)
            first = receipt.index + 1 - len(ended)
            run.entries.update({first + place: canonical_bytes(record) for place, record in enumerate(ended)})
            run.checkpoints.append(receipt.checkpoint)


def as_the_guard(name: str) -> tuple[Callable[[], list[Record]], list[Record]]:
    records = whole_request(name)
    return lambda: records[:2], records[2:]


def broken_promises(files: dict[str, bytes], folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Start again on what the disk kept, go on writing, and list what does not hold."""
    disk = Disk(files={name: File(bytearray(content), bytearray(content)) for name, content in files.items()})
    try:
        with ledger_on(disk, folder, monkeypatch) as ledger:
            found = {entry.index: entry.body for entry in ledger.entries()}
            lost = [f"entry {index} is lost" for index, body in run.entries.items() if found.get(index) != body]
            ledger.append_many(whole_request("after"))
            ledger.checkpoint()
            report = verify_ledger(ledger._store, ledger.verifier_key, known_checkpoints=run.checkpoints)
            return lost + [f"{problem.name}: {problem.message}" for problem in report.problems]
    except LedgerError as error:
        return [str(error)]


def lose_power_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, step: int = 1, ignored: frozenset[str] = frozenset()
) -> tuple[int, list[str]]:
    """Lose power at every `step`-th write point, in all three ways; gives the points tried and what broke."""
    whole = Disk(ignored_syncs=ignored)
    work(whole, tmp_path / "whole", Run(), monkeypatch)
    broken: list[str] = []
    points = range(1, whole.points + 1, step)
    for point in points:
        disk, run = Disk(limit=point, ignored_syncs=ignored), Run()
        folder = tmp_path / f"ledger-{point}"
        work(disk, folder, run, monkeypatch)
        published = folder / "checkpoint"
        text = published.read_text() if published.exists() else None
        for lose in (dropped, some_kept, torn):
            published.unlink(missing_ok=True)
            if text is not None:
                published.write_text(text)
            after = disk.after_loss(lose, random.Random(point))
            failures = broken_promises(after, folder, run, monkeypatch)
            broken += [f"point {point}, {lose.__name__}: {failure}" for failure in failures]
    return len(points), broken


@pytest.fixture(autouse=True)
def no_real_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """The small files lie on the real disk, whose syncs would only take time here."""
    monkeypatch.setattr("os.fsync", lambda _: None)


@pytest.mark.slow
def test_no_loss_of_power_breaks_a_promise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever of the un-synced writes remains, nothing acknowledged is lost, and the ledger verifies and goes on."""
    points, broken = lose_power_everywhere(tmp_path, monkeypatch)
    assert points > 100
    assert broken == []


@pytest.mark.parametrize(
    "mutation",
    ["PRAGMA synchronous = NORMAL", "PRAGMA synchronous = OFF", "wal", "database"],
)
def test_a_removed_sync_turns_the_proof_red(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mutation: str) -> None:
    """Without the sync of a commit, or of one of the two files, the same test finds broken promises."""
    ignored: frozenset[str] = frozenset()
    if mutation.startswith("PRAGMA"):
        monkeypatch.setattr(store, "DURABILITY", ("PRAGMA journal_mode = WAL", mutation))
    else:
        ignored = frozenset({mutation})
    _, broken = lose_power_everywhere(tmp_path, monkeypatch, step=7, ignored=ignored)
    assert broken
