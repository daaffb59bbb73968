"""SQL over a ledger, in a DuckDB database in memory: the entries, and tables of what their records say.

Invariants: the ledger is read in one transaction and never written; the SQL of an auditor can reach neither files nor
the network; saved queries are plain SQL files whose head says what they answer and with which parameters.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safegen.errors import LedgerError
from safegen.ledger.export import all_rows

if TYPE_CHECKING:
    import duckdb

    from safegen.ledger.transaction import Reader, StoredRow

_PARAMETER = re.compile(r"^-- \$(\w+) = (.+)$", re.MULTILINE)
_PAGE = 10_000
TABLES = "entries, requests, scores, permeabilities, bundle, disagreements, shadow, deciders"
_INSERT = (
    'INSERT INTO entries SELECT "index", leaf_hash, request_id, stage, CASE WHEN json_valid(record) THEN record END '
    "FROM page"
)
_RECORDED = "CREATE TABLE {name} AS SELECT request_id, time, {columns} FROM entries, {source} WHERE stage = '{stage}'"
_EACH = "UNNEST(from_json(record->'$.{field}', '[{{{fields}}}]')) AS each(one)"


@dataclass(frozen=True, slots=True)
class Answer:
    """Rows of one query, under the names of their columns."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class SavedQuery:
    """A query in a file: what it answers, its parameters with their defaults as SQL literals, and its text."""

    name: str
    says: str
    parameters: Mapping[str, str]
    text: str


def saved_queries(folder: Path) -> dict[str, SavedQuery]:
    """The queries in a folder, by name."""
    return {path.stem: _parse(path) for path in sorted(folder.glob("*.sql"))}


class Analysis:
    """A ledger as tables: entries, requests, scores, permeabilities, bundle, disagreements, shadow, deciders."""

    def __init__(self, reader: Reader) -> None:
        self._database = _connect()
        _fill(self._database, reader)
        for statement in _derived():
            self._database.execute(statement)
        self._database.execute("SET enable_external_access = false")
        self._database.execute("SET lock_configuration = true")

    def ask(self, text: str, parameters: Mapping[str, object] | None = None) -> Answer:
        """Answer a query; `$name` stands for a parameter.

        Raises:
            LedgerError: if the query cannot be answered.
        """
        import duckdb

        try:
            found = self._database.execute(text, dict(parameters or {}) or None)
            return Answer(tuple(column[0] for column in found.description or ()), found.fetchall())
        except duckdb.Error as error:
            raise LedgerError(f"the query failed: {error}", hint=f"tables: {TABLES}") from error

    def ask_saved(self, query: SavedQuery, given: Mapping[str, str]) -> Answer:
        """Answer a saved query, with other values for some of its parameters.

        Raises:
            LedgerError: if a parameter is unknown or the query cannot be answered.
        """
        unknown = given.keys() - query.parameters.keys()
        if unknown:
            known = ", ".join(query.parameters) or "none"
            raise LedgerError(f"{query.name} has no parameter {min(unknown)}", hint=f"its parameters: {known}")
        values = {name: given.get(name, literal.strip("'")) for name, literal in query.parameters.items()}
        return self.ask(query.text, values)

    def close(self) -> None:
        """Drop the tables."""
        self._database.close()


def _parse(path: Path) -> SavedQuery:
    text = path.read_text(encoding="utf-8")
    head = [line.removeprefix("-- ") for line in text.splitlines() if line.startswith("-- ") and line[3] != "$"]
    return SavedQuery(path.stem, " ".join(head), dict(_PARAMETER.findall(text)), text)


def _connect() -> duckdb.DuckDBPyConnection:
    try:
        import duckdb
        import pyarrow as pa
    except ImportError as error:
        raise LedgerError("queries need duckdb and pyarrow", hint="pip install 'safegen[audit]'") from error
    del pa
    return duckdb.connect(":memory:", config={"autoinstall_known_extensions": "false"})


def _fill(database: duckdb.DuckDBPyConnection, reader: Reader) -> None:
    import pyarrow as pa

    database.execute(
        'CREATE TABLE entries ("index" BIGINT, leaf_hash VARCHAR, request_id VARCHAR, stage VARCHAR, record JSON)'
    )
    names = ["index", "leaf_hash", "request_id", "stage", "record"]
    remaining = all_rows(reader)
    while rows := list(islice(remaining, _PAGE)):
        columns = zip(*map(_column_values, rows), strict=True)
        database.register("page", pa.Table.from_arrays([pa.array(column) for column in columns], names=names))
        database.execute(_INSERT)
        database.unregister("page")
    database.execute("ALTER TABLE entries ADD COLUMN time TIMESTAMP")
    database.execute("UPDATE entries SET time = TRY_CAST(rtrim(record->>'time', 'Z') AS TIMESTAMP)")


def _column_values(row: StoredRow) -> tuple[int, str, str | None, str | None, str | None]:
    entry = row.entry
    body = entry.body.decode("utf-8", "replace")
    return entry.index, entry.leaf_hash.hex(), row.request_id, row.stage, body


def _derived() -> Iterator[str]:
    for name, stage, field, fields, extra in (
        ("permeabilities", "drawn", "permeabilities", _PERMEABILITY, ("attempt",)),
        ("scores", "reviewed", "scores", _SCORE, ("attempt", "image", "verdict")),
        ("bundle", "decided", "bundle", _MEMBER, ()),
        ("disagreements", "closed", "disagreements", _DISAGREEMENT, ()),
        ("shadow", "decided", "shadow", _SHADOW, ()),
        ("deciders", "closed", "decided_by", _DECIDER, ()),
    ):
        described = ", ".join(f'"{column}": "{kind}"' for column, kind in fields.items())
        columns = [f"record->>'{column}' AS {column}" for column in extra] + [f"one.{column}" for column in fields]
        source = _EACH.format(field=field, fields=described)
        yield _RECORDED.format(name=name, columns=", ".join(columns), source=source, stage=stage)
    yield _REQUESTS


_PERMEABILITY = {
    "adapter": "VARCHAR", "concept": "VARCHAR", "gamma": "DOUBLE", "escalated": "BOOLEAN",
    "phrase": "VARCHAR", "similarity": "DOUBLE",
}  # fmt: skip
_SCORE = {
    "reviewer": "VARCHAR", "reviewer_digest": "VARCHAR", "rule": "VARCHAR", "label": "VARCHAR", "score": "DOUBLE",
    "threshold": "DOUBLE", "found": "BOOLEAN", "failure": "VARCHAR",
}  # fmt: skip
_MEMBER = {
    "concept": "VARCHAR", "adapter": "VARCHAR", "adapter_sha256": "VARCHAR", "rule": "VARCHAR", "strength": "DOUBLE",
    "transport": "VARCHAR",
}  # fmt: skip
_DISAGREEMENT = {
    "kind": "VARCHAR", "adapter": "VARCHAR", "reviewer": "VARCHAR", "score": "DOUBLE", "rule": "VARCHAR",
    "attempt": "BIGINT", "image": "BIGINT",
}  # fmt: skip
_SHADOW = {"rule": "VARCHAR", "action": "VARCHAR", "concept": "VARCHAR"}
_DECIDER = {"kind": "VARCHAR", "name": "VARCHAR"}
_REQUESTS = """
CREATE TABLE requests AS
SELECT request_id,
       min(time) FILTER (stage = 'requested') AS time,
       max(time) FILTER (stage IN ('closed', 'recovered')) AS ended,
       any_value(record->>'$.policy.id') FILTER (stage = 'requested') AS policy_id,
       any_value(record->>'$.policy.version') FILTER (stage = 'requested') AS policy_version,
       any_value(record->>'$.policy.digest') FILTER (stage = 'requested') AS policy_digest,
       any_value(record->>'$.audience.tenant') FILTER (stage = 'requested') AS tenant,
       any_value(record->>'$.audience.market') FILTER (stage = 'requested') AS market,
       any_value(record->>'$.base_model.id') FILTER (stage = 'requested') AS base_model,
       any_value(record->>'action') FILTER (stage = 'decided') AS action,
       any_value(CAST(record->'rules' AS VARCHAR[])) FILTER (stage = 'decided') AS rules,
       any_value(record->>'$.refusal.rule') FILTER (stage = 'decided') AS refused_by,
       any_value(CASE stage WHEN 'closed' THEN record->>'outcome' WHEN 'recovered' THEN 'recovered' END) AS outcome,
       count(*) FILTER (stage = 'drawn') AS attempts,
       arg_max(stage, "index") AS last_stage
FROM entries
WHERE request_id IS NOT NULL
GROUP BY request_id
"""
