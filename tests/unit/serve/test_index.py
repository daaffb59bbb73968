"""The query index says what the ledger says, however it came to be, and knows when it does not."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from safegen.errors import ConsoleError, ConsoleRequestError
from safegen.ledger import Ledger, PolicyChanged, PolicyRejected, Record, Recovered
from safegen.ledger.folder import open_store
from safegen.serve.console.context import Console
from safegen.serve.console.index import Filter, IndexFile, Item, Search, build, database, search, update_index
from safegen.serve.console.index.item import RECORD, add_entry, add_record
from safegen.serve.console.index.terms import FACETS, PLOTTED, terms_of
from tests.unit.serve.conftest import HEX, failed, refused, released, requested, withheld

MAKERS: tuple[Callable[[str], list[Record]], ...] = (released, withheld, refused, failed)


def dump(file: IndexFile) -> dict[str, object]:
    """Everything that an index says."""
    with file.reading() as connection:
        search = Search(connection)
        kinds = (*FACETS, *PLOTTED, "text", "threshold")
        counts = {
            kind: {name: n for name, n in each.items() if n} for kind, each in search.counts(Filter(), kinds).items()
        }
        return {"items": list(search.each(Filter())), "counts": counts, "indexed": search.indexed}


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kinds=st.lists(st.integers(0, 3), max_size=8),
    cuts=st.lists(st.integers(1, 6), max_size=12),
    batch=st.integers(1, 9),
)
def test_steps_give_what_one_go_gives(
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    kinds: list[int],
    cuts: list[int],
    batch: int,
) -> None:
    """An index that followed the ledger record by record equals one that was built at the end."""
    folder = tmp_path_factory.mktemp("ledger")
    stepwise, whole = IndexFile(folder / "a.db"), IndexFile(folder / "b.db")
    records = [record for number, kind in enumerate(kinds) for record in MAKERS[kind](f"r{number}")]
    with Ledger.open(folder / "ledger") as ledger:
        store = open_store(folder / "ledger", read_only=True)
        monkeypatch.setattr(build, "BATCH", batch)
        while records:
            size = cuts.pop() if cuts else len(records)
            ledger.append_many(records[:size])
            records = records[size:]
            update_index(store, stepwise)
        monkeypatch.setattr(build, "BATCH", 20_000)
        update_index(store, stepwise)
        update_index(store, whole)
        store.close()
    assert dump(stepwise) == dump(whole)


def test_every_count_is_that_of_the_items(console: Console) -> None:
    """For every term and every pair of kinds, the bitmaps count what the items say."""
    with console.search() as search:
        items = list(search.each(Filter()))
        assert len(items) == search.total(Filter()) == 7
        for kind, counted in search.counts(Filter(), tuple(FACETS)).items():
            for name, count in counted.items():
                chosen = Filter().only(kind, name)
                bearing = [item for item in items if (kind, name) in set(terms_of(item))]
                assert search.total(chosen) == count == len(bearing)
                assert list(search.each(chosen)) == bearing
        crossed = search.cross(Filter(), "rule", "outcome")
        assert {rule: +each for rule, each in crossed.items()} == {
            "mascots": {"released": 1, "withheld": 1},
            "nudity": {"refused": 2},
        }


def test_a_kind_of_very_many_names_is_left_to_the_search(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    """A facet with too many names offers those that are chosen, and costs no more than the others."""
    monkeypatch.setattr(search, "MOST_NAMES", 3)
    with console.search() as found:
        counts = found.counts(Filter().only("outcome", "refused"), ("outcome", "action"), facets=True)
    assert counts["outcome"] == {"refused": 2}
    assert counts["action"]["refuse"] == 2


def test_names_of_a_kind_are_alternatives_and_kinds_are_conditions(console: Console) -> None:
    """Two outcomes widen the choice; an outcome and a rule narrow it."""
    with console.search() as search:
        both = Filter.parse([("outcome", "withheld"), ("outcome", "released")])
        assert [item.request_id for item in search.each(both)] == ["bad-1", "good-1"]
        one = Filter.parse([*both.pairs(), ("disagreement", "leak")])
        assert [item.request_id for item in search.each(one)] == ["bad-1"]
        facets = search.counts(one, ("outcome",), facets=True)["outcome"]
        assert facets["withheld"] == 1
        assert facets["released"] == 0


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ([("from", "2026-03-02"), ("to", "2026-03-02")], ["bad-1"]),
        ([("from", "2026-03-05")], ["open-1", "formula-1"]),
        ([("to", "2026-03-01")], ["good-1"]),
        ([("q", "REVIEWER IS GONE")], ["broken-1"]),
        ([("q", "bad")], ["bad-1"]),
        ([("q", "%")], []),
        ([("tenant", "museum"), ("adapter", "zibbo-1")], ["bad-1", "good-1"]),
        ([("score", "18 open-clip / mascots")], ["bad-1"]),
        ([("gamma", "06 zibbo-1")], ["good-1"]),
        ([("rule", "no such rule")], []),
    ],
)
def test_filters(console: Console, pairs: list[tuple[str, str]], expected: list[str]) -> None:
    """Days are inclusive, text is found in reasons and request ids whatever its case, bins are those of the plots."""
    with console.search() as search:
        assert [item.request_id for item in search.each(Filter.parse(pairs))] == expected


@pytest.mark.parametrize("pairs", [[("colour", "red")], [("from", "yesterday")], [("q", "x" * 1001)]])
def test_a_filter_that_makes_no_sense_is_an_error(pairs: list[tuple[str, str]]) -> None:
    """Nobody takes an unfiltered list for a filtered one."""
    with pytest.raises(ConsoleRequestError):
        Filter.parse(pairs)


def test_a_filter_survives_its_query_string() -> None:
    """What is chosen can be sent to a colleague."""
    from urllib.parse import parse_qsl

    chosen = Filter.parse([("rule", "a&b=c"), ("rule", "é"), ("q", "x y"), ("from", "2026-01-01")])
    assert Filter.parse(parse_qsl(chosen.query())) == chosen


def test_pages_by_keyset(tmp_path: Path, open_console: Callable[..., Console]) -> None:
    """Going down page by page and up again shows every item once, in order."""
    folder = tmp_path / "many"
    with Ledger.open(folder) as ledger:
        ledger.append_many(record for number in range(23) for record in failed(f"r{number:02}"))
    with open_console(folder).search() as search:
        seen, page = [], search.page(Filter(), limit=5)
        assert page.newer is None
        while True:
            seen += [item.request_id for _, item in page.rows]
            if page.older is None:
                break
            page = search.page(Filter(), limit=5, before=page.older)
        assert seen == [f"r{number:02}" for number in reversed(range(23))]
        back = [item.request_id for _, item in page.rows]
        while page.newer is not None:
            page = search.page(Filter(), limit=5, after=page.newer)
            back = [item.request_id for _, item in page.rows] + back
        assert back == seen


def test_another_ledger_in_its_place_is_noticed(
    folder: Path, tmp_path: Path, open_console: Callable[..., Console]
) -> None:
    """An index whose entries are not those of the ledger is made anew."""
    file = IndexFile(tmp_path / "shared.db")
    store = open_store(folder, read_only=True)
    update_index(store, file)
    store.close()
    other = tmp_path / "other"
    with Ledger.open(other) as ledger:
        ledger.append_many(released("elsewhere"))
    store = open_store(other, read_only=True)
    assert update_index(store, file).indexed == 5
    store.close()
    assert [item.request_id for item in dump(file)["items"]] == ["elsewhere"]  # type: ignore[attr-defined]


@pytest.mark.parametrize("damage", [b"not a database at all", b""])
def test_a_damaged_index_is_made_anew(folder: Path, tmp_path: Path, damage: bytes) -> None:
    """Whatever lies in the file, the index afterwards is whole."""
    file = IndexFile(tmp_path / "i.db")
    file.path.write_bytes(damage)
    store = open_store(folder, read_only=True)
    update_index(store, file)
    store.close()
    assert len(dump(file)["items"]) == 7  # type: ignore[arg-type]


def test_an_index_that_is_in_use_is_left_alone(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting in vain for another console's turn is an error, and no reason to throw the index away."""
    file, store = IndexFile(tmp_path / "i.db"), open_store(folder, read_only=True)
    update_index(store, file)
    monkeypatch.setattr(database, "_BUSY_SECONDS", 0)
    with sqlite3.connect(file.path, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(ConsoleError, match="another console"):
            update_index(store, file)
    store.close()
    assert len(dump(file)["items"]) == 7  # type: ignore[arg-type]


def test_what_was_pruned_leaves_the_index(folder: Path, tmp_path: Path) -> None:
    """After retention the index holds nothing that the ledger does not hold any more."""
    file = IndexFile(tmp_path / "i.db")
    store = open_store(folder, read_only=True)
    update_index(store, file)
    with Ledger.open(folder) as ledger:
        assert ledger.prune(datetime(2026, 3, 3, tzinfo=UTC), reason="old")
    update_index(store, file)
    update_index(store, file)
    store.close()
    items = {item.request_id or item.kind: item for item in dump(file)["items"]}  # type: ignore[attr-defined]
    assert items["good-1"].flags == ["pruned"]
    assert items["good-1"].rules == []
    assert items["no-1"].rules == ["nudity"]
    assert b"mascots" not in file.path.read_bytes()


def test_a_ledger_with_holes_is_shown_all_the_same(folder: Path, tmp_path: Path) -> None:
    """Entries and nodes that are gone, and a number or an owner that none can have, hide nothing of the rest."""
    with sqlite3.connect(folder / "ledger.db") as raw:
        for trigger in ("entries_no_delete", "nodes_no_delete", "entries_no_update", "entries_contiguous"):
            raw.execute(f"DROP TRIGGER {trigger}")
        raw.execute('DELETE FROM entries WHERE "index" = 7')
        raw.execute("DELETE FROM nodes WHERE entry IN (7, 15)")
        raw.execute("UPDATE entries SET request_id = x'ff00' WHERE \"index\" = 12")
        raw.execute('INSERT INTO entries SELECT 1 << 60, "odd", stage, body, leaf_hash FROM entries WHERE "index" = 0')
    file, store = IndexFile(tmp_path / "i.db"), open_store(folder, read_only=True)
    assert update_index(store, file) == update_index(store, file)
    store.close()
    items = {item.request_id: item for item in dump(file)["items"]}  # type: ignore[attr-defined]
    assert {"good-1", "bad-1", "no-1", "b'\\xff\\x00'", "odd"} <= items.keys()
    assert items["bad-1"].entries == 6
    assert "mislabelled" in items["odd"].flags


def test_damaged_and_newer_records_are_told_apart(folder: Path, tmp_path: Path) -> None:
    """A record that cannot be read marks its request, and says in which of the two ways."""
    with sqlite3.connect(folder / "ledger.db") as raw:
        raw.execute("DROP TRIGGER entries_no_update")
        raw.execute('UPDATE entries SET body = ? WHERE "index" = 0', (b'{"broken',))
        raw.execute('UPDATE entries SET body = ? WHERE "index" = 5', (b'{"schema_version":99,"stage":"requested"}',))
    file, store = IndexFile(tmp_path / "i.db"), open_store(folder, read_only=True)
    update_index(store, file)
    store.close()
    items = {item.request_id: item for item in dump(file)["items"]}  # type: ignore[attr-defined]
    assert items["good-1"].flags == ["unreadable"]
    assert "newer version" in items["bad-1"].flags


def test_events_of_the_ledger_stand_in_the_timeline(tmp_path: Path, open_console: Callable[..., Console]) -> None:
    """Changes of policy, and changes that were rejected, are items of their own."""
    folder, time = tmp_path / "events", "2026-03-01T00:00:00.000000Z"
    changed = PolicyChanged(
        time=time, policy_id="default", old_digest=None, new_digest=f"sha256:{HEX}", policy_version="2"
    )
    rejected = PolicyRejected(
        time=time, in_force=f"sha256:{HEX}", file="default.yaml", code="policy.syntax", problem="line 3"
    )
    with Ledger.open(folder) as ledger:
        ledger.append_many([changed, rejected, requested("r"), Recovered(time=time, request_id="r", reason="gone")])
    with open_console(folder).search() as search:
        kinds = [(item.kind, item.outcome) for item in search.each(Filter())]
        assert kinds == [("request", "recovered"), ("policy_rejected", ""), ("policy_changed", "")]
        assert search.total(Filter.parse([("q", "line 3")])) == 1


def test_a_clock_that_goes_back_is_marked() -> None:
    """A record earlier than the one before it says so on its request."""
    item = Item(first=0, request_id="r")
    for index, record in enumerate([requested("r", "2026-03-02"), *refused("r", "2026-03-01")[1:]]):
        add_entry(item, index)
        add_record(item, RECORD.validate_python(record))
    assert item.flags == ["clock went back"]
