"""Nobody gets past the gatehouse who should not, and every answer carries the same strict headers."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from safegen.errors import ConsoleError
from safegen.serve.console.app import create_app
from safegen.serve.console.context import Console
from safegen.serve.console.security import COOKIE, HEADERS, Sessions
from safegen.serve.console.server import allowed_hosts, is_loopback, serve

HOST = "127.0.0.1:8717"
ORIGIN = {"Origin": f"http://{HOST}"}


@pytest.fixture
def announced() -> list[str]:
    return []


@pytest.fixture
def sessions(announced: list[str]) -> Sessions:
    return Sessions(announced.append)


@pytest.fixture
def client(console: Console, sessions: Sessions) -> TestClient:
    app = create_app(console, sessions=sessions, hosts=allowed_hosts("127.0.0.1", 8717))
    return TestClient(app, base_url=f"http://{HOST}", follow_redirects=False)


def test_without_a_session_there_is_only_the_door(client: TestClient) -> None:
    """Every page leads to the login, and the state is refused."""
    for path in ("/", "/plots", "/request?id=good-1", "/export.csv", "/image?sha256=x", "/nothing"):
        answer = client.get(path)
        assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    assert client.get("/api/state").status_code == 401
    assert client.post("/verify", headers=ORIGIN).headers["location"] == "/login"
    assert client.get("/login").status_code == 200


def test_a_token_works_once(client: TestClient, sessions: Sessions, announced: list[str]) -> None:
    """The token gives a cookie that scripts and other sites do not see; the next login needs the next token."""
    token = sessions.token
    answer = client.post("/login", data={"token": token}, headers=ORIGIN)
    cookie = answer.headers["set-cookie"]
    assert answer.status_code == 303
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert client.get("/").status_code == 200
    client.cookies.clear()
    assert client.post("/login", data={"token": token}, headers=ORIGIN).status_code == 403
    assert announced == [sessions.token] != [token]


@pytest.mark.parametrize("token", ["", "x", "é" * 50, "a" * 5000])
def test_a_wrong_token_is_refused(client: TestClient, token: str) -> None:
    """Whatever is sent, the answer is a page that says so."""
    answer = client.post("/login", data={"token": token}, headers=ORIGIN)
    assert answer.status_code == 403
    assert "not the token" in answer.text
    assert "set-cookie" not in answer.headers


def test_logging_out_ends_the_session(client: TestClient, sessions: Sessions) -> None:
    """The cookie is worth nothing afterwards, also to whoever kept it."""
    client.post("/login", data={"token": sessions.token}, headers=ORIGIN)
    kept = client.cookies[COOKIE]
    client.post("/logout", headers=ORIGIN)
    client.cookies.clear()
    assert client.get("/", headers={"Cookie": f"{COOKIE}={kept}"}).status_code == 303


@pytest.mark.parametrize("host", ["evil.example:8717", "127.0.0.1", "127.0.0.1:80", "", "localhost.evil.example:8717"])
def test_other_host_names_are_not_answered(client: TestClient, host: str) -> None:
    """A page that rebinds its name to this machine gets nothing."""
    assert client.get("/login", headers={"Host": host}).status_code == 421


def test_its_own_names_are_answered(client: TestClient) -> None:
    """The loopback names are all the same."""
    for host in ("127.0.0.1:8717", "localhost:8717", "LOCALHOST:8717", "[::1]:8717"):
        assert client.get("/login", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers", [{}, {"Origin": "http://evil.example"}, {"Origin": "null"}, {**ORIGIN, "Sec-Fetch-Site": "cross-site"}]
)
def test_other_sites_change_nothing(client: TestClient, sessions: Sessions, headers: dict[str, str]) -> None:
    """A form on another site cannot log in, out, or start anything."""
    assert client.post("/login", data={"token": sessions.token}, headers=headers).status_code == 403


def test_it_only_shows(client: TestClient) -> None:
    """No method but GET, HEAD and POST is taken."""
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS"):
        assert client.request(method, "/").status_code == 405


@pytest.mark.parametrize("path", ["/login", "/", "/static/console.css", "/nothing", "/api/state"])
def test_every_answer_has_the_headers(client: TestClient, path: str) -> None:
    """Also redirects, refusals and files."""
    for host in (HOST, "evil.example"):
        answer = client.get(path, headers={"Host": host})
        for name, value in HEADERS.items():
            assert name == "Cache-Control" or answer.headers[name] == value
        assert "unsafe" not in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])  # noqa: S104 - refused
def test_other_addresses_need_a_word(console: Console, host: str) -> None:
    """What other machines reach is refused unless it is asked for by name."""
    with pytest.raises(ConsoleError, match="other machines"):
        serve(console, host=host, port=0, announce=lambda _: None)


def test_loopback_is_told_from_the_rest() -> None:
    """All of 127/8 and ::1 are loopback; a name that merely looks like it is none."""
    assert all(map(is_loopback, ("127.0.0.1", "127.8.8.8", "::1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "10.0.0.1", "localhost.example", "")))  # noqa: S104
