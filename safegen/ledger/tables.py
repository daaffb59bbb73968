"""Tables of the ledger in SQL, and the triggers that make them append-only.

Invariants: rows are only ever added; entries are numbered 0, 1, 2, ... without a gap. The triggers stop mistakes and
ordinary tools. They do not stop whoever owns the file, which is what the signed tree is for.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, MetaData, String, Table

APPLICATION_ID = 0x53474C31
"""Marks the file as a ledger of format 1 (SQLite application_id, the letters SGL1)."""

_Number = BigInteger().with_variant(Integer, "sqlite")
metadata = MetaData()

entries = Table(
    "entries",
    metadata,
    Column("index", _Number, primary_key=True, autoincrement=False),
    Column("request_id", String, nullable=True),
    Column("stage", String, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("leaf_hash", LargeBinary, nullable=False),
    Index("entries_of_request", "request_id", "stage"),
    Index("entries_of_stage", "stage"),
)

nodes = Table(
    "nodes",
    metadata,
    Column("entry", _Number, primary_key=True, autoincrement=False),
    Column("level", Integer, primary_key=True, autoincrement=False),
    Column("hash", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)
"""Complete subtrees above the leaves: the one at `level` whose last leaf is `entry`."""

checkpoints = Table(
    "checkpoints",
    metadata,
    Column("size", _Number, primary_key=True, autoincrement=False),
    Column("text", String, nullable=False),
)

_NO_REPLACE = (
    (
        "CREATE TRIGGER nodes_no_replace BEFORE INSERT ON nodes "
        "WHEN EXISTS (SELECT 1 FROM nodes WHERE entry = NEW.entry AND level = NEW.level) "
        "BEGIN SELECT RAISE(ABORT, 'nodes are append-only'); END"
    ),
    (
        "CREATE TRIGGER checkpoints_no_replace BEFORE INSERT ON checkpoints "
        "WHEN EXISTS (SELECT 1 FROM checkpoints WHERE size = NEW.size) "
        "BEGIN SELECT RAISE(ABORT, 'checkpoints are append-only'); END"
    ),
    (
        "CREATE TRIGGER entries_contiguous BEFORE INSERT ON entries "
        'WHEN NEW."index" IS NOT (SELECT COALESCE(MAX("index"), -1) + 1 FROM entries) '
        "BEGIN SELECT RAISE(ABORT, 'entries are numbered without a gap'); END"
    ),
)


def trigger_statements() -> list[str]:
    """SQL of the triggers, one statement each."""
    refusals = [
        f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
        f"BEGIN SELECT RAISE(ABORT, '{table} are append-only'); END"
        for table in ("entries", "nodes", "checkpoints")
        for verb in ("UPDATE", "DELETE")
    ]
    return [*refusals, *_NO_REPLACE]
