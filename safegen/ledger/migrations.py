"""The schema of a ledger's SQLite file, as the steps that lead to it.

Invariants: steps are only ever added, and none is changed once released (tests/unit/ledger/test_migrations.py pins
them); a step adds to a schema and rewrites no row; all that are missing happen in one transaction, or none does. A
file with more steps than are known here is not touched.
"""

from __future__ import annotations

from sqlalchemy import Connection

from safegen.ledger.tables import APPLICATION_ID, trigger_statements

_FIRST = (
    (
        'CREATE TABLE entries ("index" INTEGER NOT NULL, request_id VARCHAR, stage VARCHAR NOT NULL, '
        'body BLOB NOT NULL, leaf_hash BLOB NOT NULL, PRIMARY KEY ("index"))'
    ),
    "CREATE INDEX entries_of_request ON entries (request_id, stage)",
    "CREATE INDEX entries_of_stage ON entries (stage)",
    (
        "CREATE TABLE nodes (entry INTEGER NOT NULL, level INTEGER NOT NULL, hash BLOB NOT NULL, "
        "PRIMARY KEY (entry, level)) WITHOUT ROWID"
    ),
    "CREATE TABLE checkpoints (size INTEGER NOT NULL, text VARCHAR NOT NULL, PRIMARY KEY (size))",
    *trigger_statements(),
    f"PRAGMA application_id = {APPLICATION_ID}",
)

MIGRATIONS: tuple[tuple[str, ...], ...] = (_FIRST,)
"""SQL of each step, in order."""


def application_id(connection: Connection) -> int:
    """What kind of file it is: 0 if it is a new one, `APPLICATION_ID` if it is a ledger."""
    return int(connection.exec_driver_sql("PRAGMA application_id").scalar_one())


def steps_done(connection: Connection) -> int:
    """How many steps a file has behind it. The first ledgers counted none, and have one."""
    if application_id(connection) == 0:
        return 0
    return max(1, int(connection.exec_driver_sql("PRAGMA user_version").scalar_one()))


def migrate(connection: Connection) -> None:
    """Take the steps that are missing, within a write transaction."""
    for step in MIGRATIONS[steps_done(connection) :]:
        for statement in step:
            connection.exec_driver_sql(statement)
    connection.exec_driver_sql(f"PRAGMA user_version = {len(MIGRATIONS)}")
