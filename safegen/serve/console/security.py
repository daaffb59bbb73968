"""Who may ask the console, and what browsers may do with its answers.

Invariants: every request is checked before any page sees it: its Host (against DNS rebinding), its origin if it
changes anything, its session; tokens and sessions are compared in constant time and kept as digests; every answer
carries the same strict headers, errors included.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any

COOKIE = "safegen_console"
OPEN_PATHS = frozenset({"/login", "/static/console.css", "/static/console.js", "/static/theme.js", "/static/icon.svg"})
"""What is answered without a session."""
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}
_MOST_SESSIONS = 64

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


class Sessions:
    """The token that logs in once, and the sessions that came of one."""

    def __init__(self, announce: Callable[[str], None] | None = None) -> None:
        """Make the first token.

        Args:
            announce: called with each new token, as the one before was used up.
        """
        self._announce = announce
        self._lock = threading.Lock()
        self._sessions: list[bytes] = []
        self.token = secrets.token_urlsafe(32)

    def log_in(self, token: str) -> str | None:
        """A new session for the token, which is used up; None if it is not the token."""
        with self._lock:
            if not hmac.compare_digest(_digest(token), _digest(self.token)):
                return None
            self.token = secrets.token_urlsafe(32)
            session = secrets.token_urlsafe(32)
            self._sessions = [*self._sessions[1 - _MOST_SESSIONS :], _digest(session)]
        if self._announce is not None:
            self._announce(self.token)
        return session

    def knows(self, session: str) -> bool:
        """Whether the session is one of ours; every one is compared, so that time tells nothing."""
        digest = _digest(session)
        return sum(hmac.compare_digest(digest, known) for known in self._sessions) > 0

    def log_out(self, session: str) -> None:
        """End a session."""
        digest = _digest(session)
        with self._lock:
            self._sessions = [known for known in self._sessions if not hmac.compare_digest(digest, known)]


class Gatehouse:
    """The ASGI application around the console's own that lets only proper requests through."""

    def __init__(self, app: Application, *, sessions: Sessions, hosts: frozenset[str]) -> None:
        self._app = app
        self._sessions = sessions
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or hand it on."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)
        else:
            await send({"type": "websocket.close"})

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                names = {name.lower() for name, _ in message["headers"]}
                more = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
                message["headers"] = [*message["headers"], *(pair for pair in more if pair[0] not in names)]
            await send(message)

        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        refusal = self._refusal(scope, headers)
        if refusal is not None:
            await _answer(send_with_headers, *refusal)
            return
        session = session_of(headers)
        scope["safegen.session"] = session if session and self._sessions.knows(session) else None
        if scope["safegen.session"] is None and scope["path"] not in OPEN_PATHS:
            await _to_login(scope, send_with_headers)
            return
        await self._app(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope, headers: dict[str, str]) -> tuple[int, str] | None:
        host = headers.get("host", "").lower()
        if host not in self._hosts:
            return 421, "This console does not answer to that host name."
        if scope["method"] in {"GET", "HEAD"}:
            return None
        if scope["method"] != "POST":
            return 405, "This console only shows."
        origin = headers.get("origin", "")
        if origin.partition("://")[2].lower() != host or headers.get("sec-fetch-site", "same-origin") != "same-origin":
            return 403, "The request came from another site."
        return None


def session_of(headers: dict[str, str]) -> str:
    """The session that a request's cookie names, or an empty text."""
    try:
        morsel = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return morsel.value if morsel is not None else ""


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


async def _to_login(scope: Scope, send: Send) -> None:
    if scope["path"].startswith("/api/"):
        await _answer(send, 401, "Log in first.")
        return
    await send({"type": "http.response.start", "status": 303, "headers": [(b"location", b"/login")]})
    await send({"type": "http.response.body", "body": b""})


async def _answer(send: Send, status: int, text: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text.encode()})
