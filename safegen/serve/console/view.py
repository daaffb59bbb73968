"""What routes need to answer: the console, the sessions, and templates with what all pages share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request
from jinja2 import Environment
from starlette.responses import HTMLResponse

from safegen.serve.console.context import Console
from safegen.serve.console.index import Filter
from safegen.serve.console.security import Sessions

PAGING = frozenset({"before", "after"})


@dataclass(frozen=True)
class View:
    """One console and how its pages are made."""

    console: Console
    sessions: Sessions
    templates: Environment

    def page(self, request: Request, template: str, *, status: int = 200, **values: Any) -> HTMLResponse:
        """A page from a template."""
        text = self.templates.get_template(template).render(
            console=self.console,
            state=self.console.state,
            path=request.url.path,
            logged_in=request.scope.get("safegen.session") is not None,
            **values,
        )
        return HTMLResponse(text, status)


def view_of(request: Request) -> View:
    """The view of the application that a request is to."""
    found: View = request.app.state.view
    return found


def filter_of(request: Request) -> Filter:
    """The filter in a request's query string.

    Raises:
        ConsoleRequestError: if there is something else in it.
    """
    return Filter.parse(pair for pair in request.query_params.multi_items() if pair[0] not in PAGING)


ViewOf = Annotated[View, Depends(view_of)]
FilterOf = Annotated[Filter, Depends(filter_of)]
