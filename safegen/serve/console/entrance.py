"""Logging in and out, and the state that pages ask for while they are open."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from safegen.serve.console.security import COOKIE
from safegen.serve.console.view import ViewOf

router = APIRouter(include_in_schema=False)
_LONGEST_FORM = 4096


@router.get("/login")
def login_page(request: Request, view: ViewOf) -> Response:
    """Ask for the token."""
    return view.page(request, "login.html.j2", wrong=False)


@router.post("/login")
async def log_in(request: Request, view: ViewOf) -> Response:
    """Take the token for a session."""
    session = view.sessions.log_in(await _token(request))
    if session is None:
        return view.page(request, "login.html.j2", status=403, wrong=True)
    answer = RedirectResponse("/", status_code=303)
    answer.set_cookie(COOKIE, session, httponly=True, samesite="strict", path="/", secure=request.url.scheme == "https")
    return answer


@router.post("/logout")
def log_out(request: Request, view: ViewOf) -> Response:
    """End the session."""
    view.sessions.log_out(request.scope["safegen.session"])
    answer = RedirectResponse("/login", status_code=303)
    answer.delete_cookie(COOKIE, path="/")
    return answer


@router.get("/api/state")
def state(view: ViewOf) -> dict[str, Any]:
    """How far index and verification have come."""
    console, job = view.console, view.console.verification.state
    return {
        "indexed": console.state.indexed,
        "size": console.state.size,
        "problem": console.problem.message if console.problem is not None else "",
        "verification": {"phase": job.phase, "checked": job.checked, "size": job.size},
    }


async def _token(request: Request) -> str:
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > _LONGEST_FORM:
            return ""
    return parse_qs(body.decode("utf-8", "replace")).get("token", [""])[0].strip()
