"""The console as an ASGI application: its routes, its errors, and the gatehouse around them.

Invariants: no page is reached but through the gatehouse; a known error is a page that says what is wrong and what to
do; an unknown one says nothing of the inside.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from safegen.errors import ConsoleRequestError, LedgerTamperedError, SafegenError
from safegen.serve.console import entrance, pages, records
from safegen.serve.console.context import Console
from safegen.serve.console.rendering import make_environment
from safegen.serve.console.security import Gatehouse, Sessions
from safegen.serve.console.view import View

_STATIC = {
    "console.css": "text/css; charset=utf-8",
    "console.js": "text/javascript; charset=utf-8",
    "theme.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}


def create_app(console: Console, *, sessions: Sessions, hosts: frozenset[str]) -> Gatehouse:
    """The application over an open console.

    Args:
        console: what to show.
        sessions: who is let in.
        hosts: the Host headers that are answered.
    """
    app = FastAPI(title="safegen console", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.view = View(console, sessions, make_environment())
    for module in (entrance, pages, records):
        app.include_router(module.router)
    _add_static(app)
    _add_errors(app)
    return Gatehouse(app, sessions=sessions, hosts=hosts)


def _add_static(app: FastAPI) -> None:
    folder = files("safegen.serve.console") / "static"
    contents = {name: (folder / name).read_bytes() for name in _STATIC}

    @app.get("/static/{name}")
    def static(name: str) -> Response:
        if name not in contents:
            raise HTTPException(404)
        return Response(contents[name], media_type=_STATIC[name], headers={"Cache-Control": "no-cache"})


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(SafegenError)
    def known(request: Request, error: SafegenError) -> Response:
        status = 400 if isinstance(error, ConsoleRequestError) else 503
        title = "The ledger contradicts itself" if isinstance(error, LedgerTamperedError) else "That did not work"
        return _page(request, status, title, error.message, where=error.where, hint=error.hint)

    @app.exception_handler(RequestValidationError)
    def malformed(request: Request, error: RequestValidationError) -> Response:
        first: dict[str, Any] = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"][1:])
        return _page(request, 400, "That address makes no sense", f"{place}: {first['msg']}")

    @app.exception_handler(HTTPException)
    def refused(request: Request, error: HTTPException) -> Response:
        title = "Nothing here" if error.status_code == 404 else "That did not work"  # noqa: PLR2004
        message = error.detail if error.detail != "Not Found" else "The console has no such page or record."
        return _page(request, error.status_code, title, message)

    @app.exception_handler(Exception)
    def unknown(request: Request, error: Exception) -> Response:
        del error
        return _page(request, 500, "The console failed", "This is a fault of the console; the terminal says more.")


def _page(request: Request, status: int, title: str, message: str, *, where: str = "", hint: str = "") -> Response:
    view: View = request.app.state.view
    values = {"title": title, "message": message, "where": where, "hint": hint}
    return view.page(request, "error.html.j2", status=status, **values)
