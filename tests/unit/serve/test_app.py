"""The console's pages over ledgers that are whole, hostile, damaged or pruned."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256
from html import unescape
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from safegen.ledger import Ledger, verify_tlog_proof
from safegen.serve.console.app import create_app
from safegen.serve.console.context import Console
from safegen.serve.console.security import Sessions
from tests.unit.serve.conftest import HEX, refused, released

HOST = "127.0.0.1:8717"
PAGES = (
    "/",
    "/plots",
    "/policies",
    "/verify",
    "/help",
    "/request?id=good-1",
    "/request?id=bad-1&verify=true",
    "/entry?n=0",
)


def client_of(console: Console) -> TestClient:
    """A client that has logged in."""
    sessions = Sessions()
    app = create_app(console, sessions=sessions, hosts=frozenset({HOST}))
    client = TestClient(app, base_url=f"http://{HOST}", follow_redirects=True)
    assert (
        client.post("/login", data={"token": sessions.token}, headers={"Origin": f"http://{HOST}"}).status_code == 200
    )
    return client


@pytest.fixture
def client(console: Console) -> TestClient:
    return client_of(console)


@pytest.mark.parametrize("path", PAGES)
def test_every_page_is_there(client: TestClient, path: str) -> None:
    """Each page answers, and holds neither script nor style of its own."""
    answer = client.get(path)
    assert answer.status_code == 200
    assert "<style" not in answer.text
    assert " style=" not in answer.text
    assert answer.text.count("<script") == answer.text.count("<script src=") == 2
    assert not [word for word in ("http://", "https://", "//cdn") if f'="{word}' in answer.text]


@pytest.mark.parametrize(
    "path", ["/", "/request?id=hostile-1", "/entry?n=18", "/policies", "/plots", "/?q=%3Cscript%3E"]
)
def test_hostile_texts_are_shown_and_not_run(client: TestClient, path: str) -> None:
    """No tag, no terminal escape and no direction override of a record reaches a page."""
    text = client.get(path).text
    assert "<script>alert" not in text
    assert not {"\x1b", "\u202e"} & set(text)


def test_a_hostile_reason_is_legible(client: TestClient) -> None:
    """What would act is shown as what it is."""
    assert r"<script>alert(1)</script>\x1b[31m\u202etxt.exe" in unescape(client.get("/request?id=hostile-1").text)


def test_the_story_of_a_request(client: TestClient) -> None:
    """Both attempts are told, with why the gate opened, what was found and what disagrees."""
    text = unescape(client.get("/request?id=bad-1").text)
    for said in ("Attempt 1", "Attempt 2", "escalated", "near “a zibbo”, similarity 0.91", "0.9000", "found", "leak"):
        assert said in text
    assert text.index("Requested") < text.index("Decided") < text.index("Attempt 1") < text.index("Closed")


def test_a_request_is_verified_with_its_proof(client: TestClient, console: Console) -> None:
    """The page says verified, and the files behind it convince our verifier of receipts."""
    text = client.get("/request?id=good-1&verify=true").text
    assert "Verified." in text
    proof, body = client.get("/entry.tlog-proof?n=4").text, client.get("/entry.json?n=4").content
    assert verify_tlog_proof(proof, body, console.key).size == 23
    shown = client.get("/entry?n=4").text
    assert json.loads(body)["outcome"] == "released"
    assert sha256(b"\0" + body).hexdigest() in shown


def test_an_unsigned_tail_is_no_tampering(folder: Path, open_console: Callable[..., Console]) -> None:
    """Records after the last checkpoint are said not to be signed yet."""
    with Ledger.open(folder) as ledger:
        ledger.append_many(released("late-1"))
    text = client_of(open_console(folder)).get("/request?id=late-1&verify=true").text
    assert "Not signed yet" in text
    assert "contradicts" not in text


def test_an_altered_record_is_found(folder: Path, open_console: Callable[..., Console]) -> None:
    """One changed byte and neither the request nor the entry verifies."""
    with sqlite3.connect(folder / "ledger.db") as raw:
        raw.execute("DROP TRIGGER entries_no_update")
        raw.execute("UPDATE entries SET body = replace(body, 'released', 'withheld') WHERE \"index\" = 4")
    client = client_of(open_console(folder))
    assert "The ledger contradicts itself" in client.get("/request?id=good-1&verify=true").text
    assert "Altered." in client.get("/entry?n=4").text


def test_odd_records_are_shown_as_what_they_are(folder: Path, open_console: Callable[..., Console]) -> None:
    """Pruned, newer and unreadable records each have their own words, and the rest of the story stays."""
    with Ledger.open(folder) as ledger:
        ledger.prune(datetime(2026, 3, 2, tzinfo=UTC), reason="old")
    with sqlite3.connect(folder / "ledger.db") as raw:
        raw.execute("DROP TRIGGER entries_no_update")
        newer = b'{"request_id":"bad-1","schema_version":99,"stage":"dreamt","time":"x","what":"<b>"}'
        raw.execute('UPDATE entries SET body = ? WHERE "index" = 6', (newer,))
        raw.execute('UPDATE entries SET body = ? WHERE "index" = 7', (b"\xff\xfe{",))
    client = client_of(open_console(folder))
    text = client.get("/request?id=bad-1").text
    assert "Of a newer version" in text
    assert "Not readable" in text
    assert "<b>" not in text
    assert "Attempt 2" in text
    assert "Proven by its hash" in client.get("/entry?n=0").text
    assert "Retention removed" in client.get("/request?id=good-1").text
    assert client.get("/entry.json?n=0").status_code == 404


def test_the_export_is_what_is_shown(client: TestClient) -> None:
    """CSV and JSON hold the items of the filter, and no cell begins a formula."""
    query = "outcome=released&outcome=withheld"
    rows = list(csv.DictReader(io.StringIO(client.get(f"/export.csv?{query}").text)))
    objects = client.get(f"/export.json?{query}").json()
    assert [row["request_id"] for row in rows] == [one["request_id"] for one in objects] == ["bad-1", "good-1"]
    assert objects[0]["permeability"] == {"zibbo-1": 1.5}
    assert rows[0]["scores"] == "open-clip / mascots=0.9 of 0.25"
    assert client.get("/export.json?rule=none").json() == []


def test_formulas_do_not_reach_spreadsheets(tmp_path: Path, open_console: Callable[..., Console]) -> None:
    """A rule that is named like a formula is quoted."""
    folder = tmp_path / "formulas"
    record = refused("r")[1].model_copy(update={"rules": ("=1+1",)})
    with Ledger.open(folder) as ledger:
        ledger.append_many([refused("r")[0], record])
    (row,) = csv.DictReader(io.StringIO(client_of(open_console(folder)).get("/export.csv").text))
    assert row["rules"] == "'=1+1"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/nothing", 404),
        ("/request?id=nobody", 404),
        ("/request", 400),
        ("/entry?n=999", 404),
        ("/entry?n=-1", 400),
        ("/entry?n=x", 400),
        ("/?colour=red", 400),
        ("/?from=yesterday", 400),
        ("/?before=x", 400),
        ("/compare?first=a&second=b", 400),
        ("/image?sha256=" + HEX, 404),
        ("/image?sha256=../../etc/passwd", 400),
        ("/export.csv?nothing=1", 400),
        ("/static/secret", 404),
    ],
)
def test_what_is_not_there_has_a_page_of_its_own(client: TestClient, path: str, status: int) -> None:
    """A wrong address is answered with its status and a sentence."""
    answer = client.get(path)
    assert answer.status_code == status
    assert "To the timeline" in answer.text


def test_a_ledger_that_went_away_is_an_error_page(folder: Path, open_console: Callable[..., Console]) -> None:
    """A database that breaks while the console runs is said so, with a hint."""
    client = client_of(open_console(folder))
    (folder / "ledger.db").write_bytes(b"gone" * 1000)
    answer = client.get("/request?id=good-1")
    assert answer.status_code == 503
    assert "restore a copy" in answer.text


def test_two_versions_of_a_policy_are_compared(tmp_path: Path, open_console: Callable[..., Console]) -> None:
    """Shares are of each version's own requests, and lead to them."""
    folder = tmp_path / "versions"
    newer = {"policy": {"id": "default", "version": "2", "digest": "sha256:" + "cd" * 32}}
    with Ledger.open(folder) as ledger:
        ledger.append_many([*released("a"), *refused("b"), *released("c", **newer)])
    client = client_of(open_console(folder))
    names = (f"default 1 {HEX[:12]}", "default 2 cdcdcdcdcdcd")
    text = unescape(client.get("/compare", params={"first": names[0], "second": names[1]}).text)
    assert "+50.0 pp" in text
    assert "/?policy=default+2+cdcdcdcdcdcd&outcome=released" in text or "outcome=released&policy=default+2" in text


def test_an_image_is_found_by_its_digest_alone(
    folder: Path, tmp_path: Path, open_console: Callable[..., Console]
) -> None:
    """A file is served under its digest if it is an image, blurred on the page; a changed file is not."""
    images = tmp_path / "images"
    images.mkdir()
    content = b"\x89PNG\r\n\x1a\n rest"
    digest = sha256(content).hexdigest()
    (images / "any-name.png").write_bytes(content)
    (images / "page.png").write_bytes(b"<script>")
    client = client_of(open_console(folder, images=images))
    answer = client.get(f"/image?sha256={digest}")
    assert (answer.content, answer.headers["content-type"]) == (content, "image/png")
    assert client.get(f"/image?sha256={sha256(b'<script>').hexdigest()}").status_code == 404
    (images / "any-name.png").write_bytes(content + b"changed")
    assert client.get(f"/image?sha256={digest}").status_code == 404


def test_the_console_never_writes_the_ledger(folder: Path, open_console: Callable[..., Console]) -> None:
    """After every page the ledger has the bytes it had."""
    client = client_of(open_console(folder))
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix not in {".db-shm", ".db-wal"}}
    for path in PAGES:
        client.get(path)
    client.post("/verify", headers={"Origin": f"http://{HOST}"})
    assert before == {name: (folder / name).read_bytes() for name in before}


def test_an_empty_ledger_has_pages(tmp_path: Path, open_console: Callable[..., Console]) -> None:
    """Before the first request every page says that there is nothing yet."""
    Ledger.open(tmp_path / "empty").close()
    client = client_of(open_console(tmp_path / "empty"))
    assert "Nothing has been recorded yet" in client.get("/").text
    assert all(client.get(path).status_code == 200 for path in ("/plots", "/policies", "/verify"))
