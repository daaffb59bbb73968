"""The ledger in PostgreSQL, for several machines; the folder keeps keys, checkpoint and the address of the database.

Invariants: as for SQLite. One writer at a time among all machines (a transaction-level advisory lock), a commit returns
once it is synced (synchronous_commit, and a server without fsync is refused), rows are only ever added (triggers).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from safegen.errors import LedgerError, LedgerWriteError
from safegen.ledger.store import BUSY_SECONDS, Store, process_id
from safegen.ledger.tables import metadata

_FORMAT = "safegen ledger 1"
_LOCK = 0x53474C31
_TABLES = ("entries", "nodes", "checkpoints")
_REFUSE = """
CREATE FUNCTION ledger_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION '%% are append-only', TG_TABLE_NAME USING ERRCODE = 'integrity_constraint_violation'; END $$
"""
_CONTIGUOUS = """
CREATE FUNCTION ledger_contiguous() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW."index" IS DISTINCT FROM (SELECT COALESCE(MAX("index"), -1) + 1 FROM entries) THEN
    RAISE EXCEPTION 'entries are numbered without a gap' USING ERRCODE = 'integrity_constraint_violation';
  END IF;
  RETURN NEW;
END $$
"""
_PRUNE_ONLY = """
CREATE OR REPLACE FUNCTION ledger_prune_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.body = ''::bytea AND NEW."index" = OLD."index" AND NEW.request_id = OLD.request_id AND NEW.stage = OLD.stage
     AND NEW.leaf_hash = OLD.leaf_hash AND EXISTS (SELECT 1 FROM prunings WHERE "stop" > OLD."index") THEN
    RETURN NEW;
  END IF;
  RAISE EXCEPTION 'entries are append-only' USING ERRCODE = 'integrity_constraint_violation';
END $$
"""
_HINTS = {
    "53": "the server has no room left: free some; nothing was written",
    "55P03": f"another process held the ledger for more than {BUSY_SECONDS} seconds: find and end it",
    "42501": "the role may not do this: grant SELECT and INSERT on the ledger's tables",
    "25006": "the server only reads: it is a standby",
    "08": "the server cannot be reached: check its address and that it runs",
    "57P": "the server is stopping or starting",
    "23": "rows of the ledger are only ever added",
}


class PostgresStore(Store):
    """A ledger's tables in a PostgreSQL database."""

    def __init__(self, url: str, *, read_only: bool = False) -> None:
        try:
            address = make_url(url).set(drivername="postgresql+psycopg")
            self._engine = _engine(address.render_as_string(hide_password=False))
        except (ArgumentError, NoSuchModuleError, ImportError) as error:
            raise LedgerError(
                f"cannot use the database: {error}",
                hint="write postgresql://host/name, and pip install 'safegen[postgresql]'",
            ) from error
        self._where = address.render_as_string(hide_password=True)
        self._process = process_id()
        self._write_lock = threading.Lock()
        self._read_only = read_only

    @classmethod
    def at(cls, url: str, *, read_only: bool = False, create: bool = False) -> PostgresStore:
        """Open the ledger in a database, on request creating its tables.

        Raises:
            LedgerError: if it cannot be reached, is missing, of another kind, or does not sync what it commits.
        """
        store = cls(url, read_only=read_only)
        try:
            store._prepare(create=create and not read_only)
        except LedgerError:
            store.close()
            raise
        return store

    def _prepare(self, *, create: bool) -> None:
        with self._connected(LedgerError, write=False) as connection:
            found = _format_of(connection)
            if connection.exec_driver_sql("SHOW fsync").scalar_one() != "on":
                raise LedgerError("the server does not sync what it commits", where=self._where, hint="set fsync = on")
        if found is None and create:
            with self._write_lock, self._connected(LedgerWriteError, write=True) as connection:
                if _format_of(connection) is None:
                    _create(connection)
                found = _format_of(connection)
        if found != _FORMAT:
            raise LedgerError(
                "the database holds no ledger of this version", where=self._where, hint="check the address"
            )

    def scrub(self) -> None:
        """Let the server reuse the space of what was removed; only `VACUUM FULL entries` frees the disk at once.

        Raises:
            LedgerWriteError: if the database fails.
        """
        try:
            with self._write_lock, self._engine.connect() as connection:
                connection.execution_options(isolation_level="AUTOCOMMIT").exec_driver_sql("VACUUM entries")
        except self._failures as error:
            raise self._translated(error, LedgerWriteError) from error

    def _translated(self, error: Exception, kind: type[LedgerError]) -> LedgerError:
        original: Any = getattr(error, "orig", None) or error
        state = str(getattr(original, "sqlstate", None) or "08")
        hint = next((hint for prefix, hint in _HINTS.items() if state.startswith(prefix)), "")
        first = str(original).strip().partition("\n")[0] or type(original).__name__
        return kind(f"the ledger's database failed: {first}", where=self._where, hint=hint)

    @property
    def _failures(self) -> tuple[type[Exception], ...]:
        return (SQLAlchemyError,)


def _format_of(connection: Connection) -> str | None:
    """What the comment on the table of entries says; None if there is no such table."""
    found = connection.exec_driver_sql(
        "SELECT obj_description(to_regclass('entries'), 'pg_class'), to_regclass('entries') IS NOT NULL"
    ).one()
    return str(found[0]) if found[1] else None


def _create(connection: Connection) -> None:
    metadata.create_all(connection)
    for statement in _trigger_statements():
        connection.exec_driver_sql(statement)
    connection.exec_driver_sql(f"COMMENT ON TABLE entries IS '{_FORMAT}'")


def pruning_statements() -> Iterator[str]:
    """SQL by which the owner of the tables lets bodies go as the table of prunings allows, and nothing else."""
    yield _PRUNE_ONLY
    yield "DROP TRIGGER IF EXISTS entries_append_only ON entries"
    yield "DROP TRIGGER IF EXISTS entries_prune_only ON entries"
    yield "CREATE TRIGGER entries_append_only BEFORE DELETE ON entries FOR EACH ROW EXECUTE FUNCTION ledger_refuse()"
    yield "CREATE TRIGGER entries_prune_only BEFORE UPDATE ON entries FOR EACH ROW EXECUTE FUNCTION ledger_prune_only()"
    yield "DROP TRIGGER IF EXISTS prunings_append_only ON prunings"
    yield "DROP TRIGGER IF EXISTS prunings_no_truncate ON prunings"
    yield from _protection("prunings")


def _protection(table: str) -> Iterator[str]:
    yield (
        f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE ON {table} "
        "FOR EACH ROW EXECUTE FUNCTION ledger_refuse()"
    )
    yield (
        f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} "
        "FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse()"
    )
    yield f"REVOKE UPDATE, DELETE, TRUNCATE ON {table} FROM PUBLIC"


def _trigger_statements() -> Iterator[str]:
    yield _REFUSE
    yield _CONTIGUOUS
    for table in _TABLES:
        yield from _protection(table)
    yield (
        "CREATE TRIGGER entries_contiguous BEFORE INSERT ON entries FOR EACH ROW EXECUTE FUNCTION ledger_contiguous()"
    )


def _engine(url: str) -> Engine:
    engine = create_engine(url, pool_pre_ping=True)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        if not connection.get_execution_options().get("write", False):
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            return
        connection.exec_driver_sql("SET LOCAL synchronous_commit = on")
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{int(BUSY_SECONDS * 1000)}ms'")
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")

    return engine
