"""The steps that lead to a ledger's schema."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import create_engine, inspect

from safegen.errors import LedgerError
from safegen.ledger import Ledger, LedgerKeys, LedgerReader, store, verify_ledger
from safegen.ledger import migrations as steps
from safegen.ledger.tables import metadata
from tests.unit.ledger.conftest import FakeClock, whole_request

PINNED = ["0ffbb9627d541aab"]
"""Digest of each released step: one that was changed would leave old files unlike new ones."""


def test_released_steps_are_never_changed() -> None:
    """Every step is the one that was released; new ones come after them, and are pinned here."""
    digests = [hashlib.sha256(json.dumps(step).encode()).hexdigest()[:16] for step in steps.MIGRATIONS]
    assert digests == PINNED


def test_steps_add_and_never_rewrite() -> None:
    """No step changes or removes a row or a table."""
    for step in steps.MIGRATIONS:
        for statement in step:
            assert statement.split()[0] in {"CREATE", "PRAGMA"}, statement


def test_the_steps_lead_to_the_tables_of_the_code(full_folder: Path) -> None:
    """A file has the tables, columns and indexes that the statements of the code are made for."""
    found = inspect(create_engine(f"sqlite:///{full_folder / 'ledger.db'}"))
    assert set(found.get_table_names()) == set(metadata.tables)
    for name, table in metadata.tables.items():
        columns = {column["name"]: column["nullable"] for column in found.get_columns(name)}
        assert columns == {column.name: column.nullable for column in table.columns}
        assert {index["name"] for index in found.get_indexes(name)} == {index.name for index in table.indexes}


def with_version(folder: Path, version: int) -> None:
    with sqlite3.connect(folder / "ledger.db") as database:
        database.execute(f"PRAGMA user_version = {version}")


def test_an_older_file_is_brought_up_to_date_by_its_writer_alone(
    full_folder: Path, keys: LedgerKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step that is missing is taken once, by whoever writes; readers leave the file as it is, and all verifies."""
    with_version(full_folder, 0)
    added = (*steps.MIGRATIONS, ("CREATE INDEX entries_of_leaf ON entries (leaf_hash)",))
    monkeypatch.setattr(steps, "MIGRATIONS", added)
    monkeypatch.setattr(store, "MIGRATIONS", added)
    with LedgerReader.open_read_only(full_folder) as reader:
        assert reader.size == 15
    for _ in range(2):
        with Ledger.open(full_folder, keys=keys, clock=FakeClock()) as ledger:
            ledger.append_many(whole_request(f"late-{ledger.size}"))
    with sqlite3.connect(full_folder / "ledger.db") as database:
        assert database.execute("PRAGMA user_version").fetchone() == (2,)
        assert database.execute("SELECT count(*) FROM sqlite_master WHERE name = 'entries_of_leaf'").fetchone() == (1,)
    assert verify_ledger(full_folder, keys.verifier_key).ok


def test_a_step_that_fails_leaves_the_file_as_it_was(
    full_folder: Path, keys: LedgerKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps happen together or not at all."""
    added = (*steps.MIGRATIONS, ("CREATE TABLE more (x INTEGER)", "CREATE NONSENSE"))
    monkeypatch.setattr(steps, "MIGRATIONS", added)
    monkeypatch.setattr(store, "MIGRATIONS", added)
    with pytest.raises(LedgerError, match="NONSENSE"):
        Ledger.open(full_folder, keys=keys)
    with sqlite3.connect(full_folder / "ledger.db") as database:
        assert database.execute("SELECT count(*) FROM sqlite_master WHERE name = 'more'").fetchone() == (0,)


def test_a_newer_file_is_left_alone(full_folder: Path, keys: LedgerKeys) -> None:
    """A file with steps that are not known here is neither read nor written, and the error says why."""
    with_version(full_folder, 99)
    for open_it in (lambda: Ledger.open(full_folder, keys=keys), lambda: LedgerReader.open_read_only(full_folder)):
        with pytest.raises(LedgerError, match="newer safegen"):
            open_it()
