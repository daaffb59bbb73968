"""Forgeries on a real database file: each is found under its own name."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from safegen.errors import LedgerError
from safegen.ledger import Ledger, LedgerKeys, canonical_bytes, verify_ledger
from safegen.ledger.merkle import Tree, leaf_hash
from tests.unit.ledger.conftest import FakeClock, counting_random, requested, whole_request

Forgery = Callable[[sqlite3.Connection], None]


def public_key() -> str:
    return str(LedgerKeys.generate("example.com/ledger", random=counting_random()).verifier_key)


def problem_names(folder: Path) -> set[str]:
    return {problem.name for problem in verify_ledger(folder, public_key()).problems}


def forge(folder: Path, forgery: Forgery) -> None:
    """Apply a forgery as the owner of the file, who can drop the triggers first."""
    connection = sqlite3.connect(folder / "ledger.db")
    for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        connection.execute(f"DROP TRIGGER {name}")
    forgery(connection)
    connection.commit()
    connection.close()


def rebuild_tree(connection: sqlite3.Connection) -> None:
    """Make every stored hash fit the bodies again, as a careful forger would."""
    tree = Tree()
    connection.execute("DELETE FROM nodes")
    for index, body in connection.execute('SELECT "index", body FROM entries ORDER BY "index"').fetchall():
        leaf = leaf_hash(body)
        connection.execute('UPDATE entries SET leaf_hash = ? WHERE "index" = ?', (leaf, index))
        for node in tree.append(leaf)[1:]:
            connection.execute("INSERT INTO nodes VALUES (?, ?, ?)", (index, node.level, node.hash))


def flip_a_bit(connection: sqlite3.Connection) -> None:
    (body,) = connection.execute('SELECT body FROM entries WHERE "index" = 7').fetchone()
    position = body.index(b"0.75")
    forged = body[:position] + b"0.74" + body[position + 4 :]
    connection.execute('UPDATE entries SET body = ? WHERE "index" = 7', (forged,))


def flip_a_bit_and_rebuild(connection: sqlite3.Connection) -> None:
    flip_a_bit(connection)
    rebuild_tree(connection)


def drop_an_entry(connection: sqlite3.Connection) -> None:
    connection.execute('DELETE FROM entries WHERE "index" = 7')


def drop_an_entry_and_renumber(connection: sqlite3.Connection) -> None:
    drop_an_entry(connection)
    connection.execute('UPDATE entries SET "index" = "index" - 1 WHERE "index" > 7')
    rebuild_tree(connection)


def swap_two(connection: sqlite3.Connection) -> None:
    connection.execute('UPDATE entries SET "index" = 99 WHERE "index" = 6')
    connection.execute('UPDATE entries SET "index" = 6 WHERE "index" = 7')
    connection.execute('UPDATE entries SET "index" = 7 WHERE "index" = 99')


def truncate(connection: sqlite3.Connection) -> None:
    connection.execute('DELETE FROM entries WHERE "index" >= 10')
    connection.execute("DELETE FROM nodes WHERE entry >= 10")
    connection.execute("DELETE FROM checkpoints WHERE size > 10")


def sign_with_another_key(connection: sqlite3.Connection) -> None:
    tree = Tree()
    for (leaf,) in connection.execute('SELECT leaf_hash FROM entries ORDER BY "index"').fetchall():
        tree.append(leaf)
    signed = LedgerKeys.generate("example.com/ledger").sign(tree.size, tree.root())
    connection.execute("UPDATE checkpoints SET text = ? WHERE size = ?", (signed.text, signed.size))


def add_a_row(connection: sqlite3.Connection) -> None:
    body = canonical_bytes(requested("invented"))
    row = (15, "invented", "requested", body, leaf_hash(body))
    connection.execute("INSERT INTO entries VALUES (?, ?, ?, ?, ?)", row)


def relabel_a_row(connection: sqlite3.Connection) -> None:
    connection.execute("UPDATE entries SET request_id = 'other' WHERE \"index\" = 7")


def forge_a_stored_hash(connection: sqlite3.Connection) -> None:
    connection.execute("UPDATE nodes SET hash = zeroblob(32) WHERE entry = 3 AND level = 2")


def add_a_node(connection: sqlite3.Connection) -> None:
    connection.execute("INSERT INTO nodes VALUES (4, 1, zeroblob(32))")


def write_nonsense(connection: sqlite3.Connection) -> None:
    connection.execute("UPDATE entries SET body = x'7b7d' WHERE \"index\" = 7")


def remove_all_checkpoints(connection: sqlite3.Connection) -> None:
    connection.execute("DELETE FROM checkpoints")


def relabel_a_checkpoint(connection: sqlite3.Connection) -> None:
    connection.execute("UPDATE checkpoints SET size = 9 WHERE size = 10")


def store_text_for_bytes(connection: sqlite3.Connection) -> None:
    connection.execute("UPDATE entries SET body = 'text', leaf_hash = 5 WHERE \"index\" = 7")
    connection.execute("UPDATE nodes SET hash = 'text' WHERE entry = 3")


def store_bytes_for_text(connection: sqlite3.Connection) -> None:
    connection.execute("UPDATE entries SET request_id = x'ff', stage = CAST(x'ff' AS TEXT) WHERE \"index\" = 7")
    connection.execute("UPDATE checkpoints SET text = x'ff' WHERE size = 5")


def add_a_row_below_zero(connection: sqlite3.Connection) -> None:
    connection.execute("INSERT INTO entries VALUES (-1, 'a', 'requested', x'00', x'00')")


def add_a_row_far_away(connection: sqlite3.Connection) -> None:
    connection.execute("INSERT INTO entries VALUES (?, 'a', 'requested', x'00', x'00')", (2**63 - 1,))


def add_a_node_beyond_the_end(connection: sqlite3.Connection) -> None:
    connection.execute("INSERT INTO nodes VALUES (15, 1, zeroblob(32))")


FORGERIES: list[tuple[str, Forgery]] = [
    ("entry.altered", flip_a_bit),
    ("checkpoint.root", flip_a_bit_and_rebuild),
    ("entry.missing", drop_an_entry),
    ("checkpoint.root", drop_an_entry_and_renumber),
    ("request.order", swap_two),
    ("checkpoint.ahead", truncate),
    ("checkpoint.signature", sign_with_another_key),
    ("node.missing", add_a_row),
    ("entry.mislabelled", relabel_a_row),
    ("node.altered", forge_a_stored_hash),
    ("node.surplus", add_a_node),
    ("entry.unreadable", write_nonsense),
    ("checkpoint.missing", remove_all_checkpoints),
    ("checkpoint.mislabelled", relabel_a_checkpoint),
    ("entry.unreadable", store_text_for_bytes),
    ("entry.mislabelled", store_bytes_for_text),
    ("entry.surplus", add_a_row_below_zero),
    ("entry.surplus", add_a_row_far_away),
    ("node.surplus", add_a_node_beyond_the_end),
]


def test_an_honest_ledger_has_no_problem(full_folder: Path) -> None:
    """What nobody touched verifies, signed to the last entry."""
    report = verify_ledger(full_folder, public_key())
    assert report.problems == ()
    assert (report.size, report.signed_size, report.checkpoints) == (15, 15, 4)
    assert (report.outcomes, report.open_requests) == ({"released": 3}, ())


@pytest.mark.parametrize(("name", "forgery"), FORGERIES, ids=[forgery.__name__ for _, forgery in FORGERIES])
def test_forgery_is_found(full_folder: Path, name: str, forgery: Forgery) -> None:
    """Every forgery is found, under the name of what it is."""
    forge(full_folder, forgery)
    assert name in problem_names(full_folder)


def test_careful_swap_is_found(full_folder: Path) -> None:
    """Entries that change places, with every hash made to fit, contradict the signed root."""

    def swap_carefully(connection: sqlite3.Connection) -> None:
        swap_two(connection)
        rebuild_tree(connection)

    forge(full_folder, swap_carefully)
    assert "checkpoint.root" in problem_names(full_folder)


def test_entry_after_the_last_checkpoint_is_counted(full_folder: Path, keys: LedgerKeys, clock: FakeClock) -> None:
    """What is not signed yet is said to be so, and is no tampering."""
    with Ledger.open(full_folder, keys=keys, clock=clock) as ledger:
        ledger.append(requested("late"))
    report = verify_ledger(full_folder, public_key())
    assert (report.ok, report.unsigned_tail, report.open_requests) == (True, 1, ("late",))


def test_whole_rollback_is_found_with_a_kept_checkpoint(full_folder: Path) -> None:
    """A ledger set back together with all its checkpoints is caught by a checkpoint that somebody kept."""
    kept = (full_folder / "checkpoint").read_text()
    forge(full_folder, truncate)
    connection = sqlite3.connect(full_folder / "ledger.db")
    (earlier,) = connection.execute("SELECT text FROM checkpoints WHERE size = 10").fetchone()
    connection.close()
    (full_folder / "checkpoint").write_text(earlier)
    assert verify_ledger(full_folder, public_key()).ok
    report = verify_ledger(full_folder, public_key(), known_checkpoints=[kept])
    assert [problem.name for problem in report.problems] == ["checkpoint.ahead"]


def test_forged_published_checkpoint_is_found(full_folder: Path) -> None:
    """The published file is verified like the stored checkpoints."""
    (full_folder / "checkpoint").write_text("nonsense")
    assert problem_names(full_folder) == {"checkpoint.signature"}


def test_other_key_verifies_nothing(full_folder: Path) -> None:
    """Under a key that never signed, every checkpoint is a problem."""
    report = verify_ledger(full_folder, LedgerKeys.generate("example.com/ledger").verifier_key)
    assert {problem.name for problem in report.problems} == {"checkpoint.signature"}
    assert report.unsigned_tail == 15


def test_damaged_file_is_an_error(full_folder: Path) -> None:
    """A file that SQLite cannot read is no verdict but an error."""
    (full_folder / "ledger.db").write_bytes(b"\0" * 4096)
    with pytest.raises(LedgerError):
        verify_ledger(full_folder, public_key())


def test_open_store_is_verified_alike(ledger: Ledger) -> None:
    """A process verifies the ledger that it holds open."""
    ledger.append_many(whole_request("a"))
    assert verify_ledger(ledger._store, ledger.verifier_key).unsigned_tail == 5


def test_progress_is_told(full_folder: Path, keys: LedgerKeys) -> None:
    """Whoever waits for a verification learns how far it has come, and at last that all was seen."""
    seen: list[int] = []
    verify_ledger(full_folder, keys.verifier_key, progress=seen.append)
    assert seen[-1] == 15
    assert seen == sorted(seen)
