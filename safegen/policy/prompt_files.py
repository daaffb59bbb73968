"""Prompts asked before, from CSV, JSON Lines, Parquet or plain text.

Invariants: every row becomes a request or an error that names the row; nothing is skipped in silence.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from safegen.errors import RequestError
from safegen.policy.decision import PromptRequest

_FIELDS = tuple(PromptRequest.model_fields)
_LONGEST_CELL = 1 << 20


def read_requests(path: Path) -> Iterator[PromptRequest]:
    """Yield the requests of a file: `.csv`, `.jsonl`, `.parquet` with a column `prompt`, or `.txt`, a prompt a line.

    Columns of the names of other request attributes (`tenant`, `market`, `age_gate`, ...) are used, others are not.

    Raises:
        RequestError: the file cannot be read, is of no known kind, or a row holds no prompt.
    """
    readers = {".csv": _csv, ".jsonl": _jsonl, ".parquet": _parquet, ".txt": _txt}
    reader = readers.get(path.suffix)
    if reader is None:
        raise RequestError("prompts come from .csv, .jsonl, .parquet or .txt", where=str(path))
    try:
        for at, row in enumerate(reader(path), start=1):
            yield _request(row, f"{path}: row {at}")
    except (OSError, UnicodeDecodeError, csv.Error, json.JSONDecodeError) as error:
        raise RequestError(f"cannot read the prompts: {error}", where=str(path)) from error


def _request(row: Any, where: str) -> PromptRequest:
    if not isinstance(row, dict):
        raise RequestError("a row must be an object with a `prompt`", where=where)
    if not isinstance(row.get("prompt"), str):
        hint = "give the ledger's folder, or a whole export of it, and its sealed prompts are read"
        raise RequestError("the row has no `prompt`", where=where, hint=hint if "stage" in row else "")
    fields = {name: row[name] for name in _FIELDS if row.get(name) not in {None, ""} or name == "prompt"}
    try:
        return PromptRequest.model_validate(fields)
    except ValidationError as error:
        raise RequestError(f"the row is no request: {error.errors()[0]['msg']}", where=where) from error


def _csv(path: Path) -> Iterator[Any]:
    csv.field_size_limit(_LONGEST_CELL)
    with path.open(encoding="utf-8-sig", newline="") as file:
        yield from csv.DictReader(file)


def _jsonl(path: Path) -> Iterator[Any]:
    with path.open(encoding="utf-8") as file:
        yield from (json.loads(line) for line in file if line.strip())


def _txt(path: Path) -> Iterator[Any]:
    with path.open(encoding="utf-8") as file:
        yield from ({"prompt": line.rstrip("\r\n")} for line in file)


def _parquet(path: Path) -> Iterator[Any]:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError as error:
        hint = "pip install 'safegen[batch]'"
        raise RequestError("Parquet needs pyarrow, which is not installed", where=str(path), hint=hint) from error
    try:
        file = parquet.ParquetFile(path)
        wanted = [name for name in file.schema_arrow.names if name in _FIELDS]
        for batch in file.iter_batches(columns=wanted):
            yield from batch.to_pylist()
    except ArrowException as error:
        raise RequestError(f"cannot read the prompts: {error}", where=str(path)) from error
