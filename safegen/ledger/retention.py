"""Retention: bodies of old requests are removed, their hashes stay, and the ledger says so itself.

Invariants: a ledger is append-only without exception until it is first pruned; a body goes only in the transaction that
appends the `pruned` record, only if a checkpoint covers it, and only with all other bodies of its ended request; what
the database lets go is exactly what the record allows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from sqlalchemy import select, text

from safegen.ledger.record import LEDGER_STAGES, Pruned
from safegen.ledger.stages import TERMINAL_STAGES
from safegen.ledger.tables import entries
from safegen.ledger.transaction import Writer

if TYPE_CHECKING:
    from safegen.ledger.transaction import Reader

_TABLE = 'CREATE TABLE IF NOT EXISTS prunings (entry {number} PRIMARY KEY, "stop" {number} NOT NULL)'
_NOTE = text('INSERT INTO prunings (entry, "stop") VALUES (:entry, :stop)')
_PROTECTION = tuple(
    f"CREATE TRIGGER IF NOT EXISTS prunings_no_{verb.lower()} BEFORE {verb} ON prunings "
    "BEGIN SELECT RAISE(ABORT, 'prunings are append-only'); END"
    for verb in ("UPDATE", "DELETE")
)
_ALLOWANCE = """
CREATE TRIGGER entries_no_update BEFORE UPDATE ON entries
WHEN NOT (
  NEW.body = x'' AND NEW."index" IS OLD."index" AND NEW.request_id IS OLD.request_id AND NEW.stage IS OLD.stage
  AND NEW.leaf_hash IS OLD.leaf_hash AND OLD.request_id IS NOT NULL
  AND EXISTS (SELECT 1 FROM prunings WHERE "stop" > OLD."index")
)
BEGIN SELECT RAISE(ABORT, 'entries are append-only'); END
"""


def first_not_older(reader: Reader, cutoff: str, signed: int) -> int:
    """Number of the first entry that is not before `cutoff`, a timestamp, and at most `signed`."""
    due = 0
    while rows := reader.rows(due, signed):
        for row in rows:
            if row.entry.body and row.entry.record.time >= cutoff:
                return row.entry.index
        due = rows[-1].entry.index + 1
    return signed


def remove_bodies(writer: Writer, record: Pruned, at: int) -> int:
    """Remove what the `pruned` record, which is entry `at`, allows; gives how many bodies went."""
    connection = writer.connection
    for statement in _openings(connection.dialect.name):
        connection.exec_driver_sql(statement)
    connection.execute(_NOTE, {"entry": at, "stop": record.stop})
    ended = select(entries.c.request_id).where(entries.c.index < record.stop, entries.c.stage.in_(TERMINAL_STAGES))
    old = entries.c.index < record.stop, entries.c.body != b"", entries.c.stage.not_in(LEDGER_STAGES)
    chosen = entries.update().where(*old, entries.c.request_id.in_(ended)).values(body=b"")
    return int(connection.execute(chosen).rowcount)


def _openings(dialect: str) -> Iterator[str]:
    """What lets through exactly what the prunings allow, in the SQL of a database."""
    if dialect == "sqlite":
        yield _TABLE.format(number="INTEGER")
        yield from (*_PROTECTION, "DROP TRIGGER IF EXISTS entries_no_update", _ALLOWANCE)
        return
    from safegen.ledger.postgresql import pruning_statements

    yield _TABLE.format(number="BIGINT")
    yield from pruning_statements()
