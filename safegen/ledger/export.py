"""Exports of a ledger: JSON Lines, which any verifier checks again, and Parquet, for analysis.

Invariants: an export holds what the database holds, byte for byte where it was signed; it is written whole or not at
all; nothing in it is trusted when it is read back. The format is told in docs/ledger.md.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from safegen.errors import LedgerError, LedgerWriteError
from safegen.ledger.files import draft_of
from safegen.ledger.folder import CHECKPOINT_FILE
from safegen.ledger.source import ENTRIES_LIMIT, Page, Row
from safegen.ledger.transaction import Entry, StoredRow

if TYPE_CHECKING:
    from safegen.ledger.transaction import Reader

EXPORT_FORMAT = "safegen-ledger-export/1"
_PAGE = 1000
_GONE = b"null"
"""Stands for a record that was pruned."""
_ENTRY = re.compile(rb'\{"index":([0-9]{1,18}),"leaf_hash":"([0-9a-f]{64})","record":(.*)\}\n')
_LONGEST_LINE = 1 << 20


def write_jsonl(reader: Reader, folder: Path, path: Path) -> int:
    """Export a whole ledger as JSON Lines; gives the number of entries.

    Raises:
        LedgerWriteError: if the file cannot be written.
    """
    stored = reader.checkpoints()
    published = folder / CHECKPOINT_FILE
    size = 0
    with _whole_file(path) as file:
        file.write(_line({"format": EXPORT_FORMAT}))
        for row in all_rows(reader):
            entry = row.entry
            file.write(b'{"index":%d,"leaf_hash":"%b","record":%b}\n' % (entry.index, _hex(entry), entry.body or _GONE))
            size += 1
        for signed_size, text in stored:
            file.write(_line({"size": signed_size, "checkpoint": text}))
        if published.exists():
            file.write(_line({"published": published.read_text(encoding="utf-8", errors="replace")}))
        file.write(_line({"end": {"entries": size, "checkpoints": len(stored)}}))
    return size


def write_parquet(reader: Reader, path: Path) -> int:
    """Export the entries as Parquet, one row each: index, leaf_hash, request_id, stage, time and the record as JSON.

    Raises:
        LedgerWriteError: if the file cannot be written.
        LedgerError: if pyarrow is not installed.
    """
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise LedgerError("Parquet needs pyarrow", hint="pip install 'safegen[audit]'") from error
    columns = ["leaf_hash", "request_id", "stage", "time", "record"]
    schema = pa.schema([("index", pa.int64()), *((column, pa.string()) for column in columns)])
    size = 0
    with _whole_file(path) as file, parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        for rows in _in_pages(all_rows(reader)):
            writer.write_table(pa.Table.from_pylist([_columns(row) for row in rows], schema=schema))
            size += len(rows)
    return size


def write_lines(path: Path, parts: Iterable[dict[str, Any]]) -> int:
    """Write objects as JSON Lines, in ASCII; gives their number.

    Raises:
        LedgerWriteError: if the file cannot be written.
    """
    count = 0
    with _whole_file(path) as file:
        for part in parts:
            file.write(_line(part))
            count += 1
    return count


def all_rows(reader: Reader) -> Iterator[StoredRow]:
    """Every stored row, in order, a page at a time."""
    due = 0
    while rows := reader.rows(due, ENTRIES_LIMIT):
        yield from rows
        due = rows[-1].entry.index + 1


class ExportedLog:
    """An export in JSON Lines as something to verify; believed in nothing."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.cut = True
        self._checkpoints: list[tuple[int, str]] = []
        self._published: list[str] = []
        for line in self._lines():
            if not _ENTRY.fullmatch(line):
                self._note(line)

    def checkpoints(self) -> list[tuple[int, str]]:
        """All checkpoints as (size, text), in the order of the file."""
        return self._checkpoints

    def published(self) -> list[str]:
        """The checkpoint that had been published when the export was made."""
        return self._published

    def pages(self) -> Iterator[Page]:
        """The entries in the order of the file. An export carries no tree nodes and no columns."""
        rows: list[Row] = []
        for line in self._lines():
            if match := _ENTRY.fullmatch(line):
                leaf = bytes.fromhex(match[2].decode())
                body = b"" if match[3] == _GONE else match[3]
                rows.append((int(match[1]), None, None, body, leaf))
            if len(rows) == _PAGE:
                yield Page(rows, None)
                rows = []
        yield Page(rows, None)

    def _lines(self) -> Iterator[bytes]:
        try:
            with self._path.open("rb") as file:
                _check_format(file.readline(_LONGEST_LINE))
                while line := file.readline(_LONGEST_LINE):
                    yield line
        except OSError as error:
            raise LedgerError(f"cannot read the export: {error.strerror}", where=str(self._path)) from error
        except (ValueError, AttributeError) as error:
            raise self._foreign() from error

    def _note(self, line: bytes) -> None:
        try:
            part: dict[str, Any] = json.loads(line)
        except ValueError as error:
            raise self._foreign() from error
        match part:
            case {"size": int(size), "checkpoint": str(text), **rest} if not rest:
                self._checkpoints.append((size, text))
            case {"published": str(text), **rest} if not rest:
                self._published.append(text)
            case {"end": dict(), **rest} if not rest:
                self.cut = False
                return
            case _:
                raise self._foreign()
        self.cut = True

    def _foreign(self) -> LedgerError:
        return LedgerError(
            f"not an export of format {EXPORT_FORMAT}", where=str(self._path), hint="make one: `safegen audit export`"
        )


def _check_format(line: bytes) -> None:
    if json.loads(line).get("format") != EXPORT_FORMAT:
        raise ValueError(line)


def _line(part: dict[str, Any]) -> bytes:
    return json.dumps(part, separators=(",", ":")).encode() + b"\n"


def _hex(entry: Entry) -> bytes:
    return entry.leaf_hash.hex().encode()


def _columns(row: StoredRow) -> dict[str, Any]:
    body = row.entry.body.decode("utf-8", "replace")
    try:
        time = json.loads(body).get("time")
    except (ValueError, AttributeError):
        time = None
    return {
        "index": row.entry.index,
        "leaf_hash": row.entry.leaf_hash.hex(),
        "request_id": row.request_id,
        "stage": row.stage,
        "time": time if isinstance(time, str) else None,
        "record": body,
    }


def _in_pages(rows: Iterator[StoredRow]) -> Iterator[list[StoredRow]]:
    page: list[StoredRow] = []
    for row in rows:
        page.append(row)
        if len(page) == _PAGE:
            yield page
            page = []
    yield page


@contextmanager
def _whole_file(path: Path) -> Iterator[IO[bytes]]:
    """A file that takes its place, durable, once the block has ended well."""
    try:
        with draft_of(path) as file:
            yield file
    except OSError as error:
        raise LedgerWriteError(f"cannot write the export: {error.strerror}", where=str(path)) from error
