"""The pages over many records: timeline, plots, policies, verification, help, and the exports."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import RedirectResponse, Response, StreamingResponse

from safegen.errors import ConsoleRequestError
from safegen.serve.console import plots
from safegen.serve.console.context import Console
from safegen.serve.console.export import csv_export, json_export
from safegen.serve.console.index import Filter, Item
from safegen.serve.console.index.terms import FACETS
from safegen.serve.console.shares import COMPARED, compare
from safegen.serve.console.view import FilterOf, ViewOf

router = APIRouter(include_in_schema=False)
PAGE = 50
_MOST_PLOTS = 12
_MOST_VERSIONS = 200
_PIECE_LINES = 500
"""Lines of an export that are sent at once."""
_EVENTS = ("policy_changed", "policy_rejected")
Cursor = Annotated[int | None, Query(ge=0, lt=2**62)]


@router.get("/")
def timeline(request: Request, view: ViewOf, chosen: FilterOf, before: Cursor = None, after: Cursor = None) -> Response:
    """Requests and events, newest first, with filters."""
    with view.console.search() as search:
        page = search.page(chosen, limit=PAGE, before=before, after=after)
        total = search.total(chosen)
        facets = search.counts(chosen, tuple(FACETS), facets=True)
        by_day = search.cross(chosen, "day", "outcome")
    return view.page(
        request, "timeline.html.j2", filter=chosen, page=page, total=total, facets=facets,
        plot=plots.volume(chosen, by_day), first_page=before is None and after is None,
    )  # fmt: skip


@router.get("/plots")
def plots_page(request: Request, view: ViewOf, chosen: FilterOf) -> Response:
    """Plots of what the filter lets through."""
    with view.console.search() as search:
        by_day = search.cross(chosen, "day", "outcome")
        by_rule = search.cross(chosen, "rule", "outcome")
        counts = search.counts(chosen, ("gamma", "score", "threshold", "seconds", "disagreement"))
        total = search.total(chosen)
    held = [name for name, count in counts["threshold"].items() if count]
    return view.page(
        request, "plots.html.j2", filter=chosen, total=total, volume=plots.volume(chosen, by_day),
        rules=sorted(((rule, each) for rule, each in by_rule.items() if each.total()), key=lambda one: -one[1].total()),
        gammas=plots.gamma_histograms(chosen, counts["gamma"])[:_MOST_PLOTS],
        scores=plots.score_histograms(chosen, counts["score"], held)[:_MOST_PLOTS],
        seconds=plots.seconds_histogram(chosen, counts["seconds"]), disagreements=counts["disagreement"],
    )  # fmt: skip


@router.get("/policies")
def policies(request: Request, view: ViewOf) -> Response:
    """The versions of policies that were in force, and when they changed."""
    requests = Filter().only("kind", "request")
    with view.console.search() as search:
        outcomes = search.cross(requests, "policy", "outcome")
        days = search.cross(requests, "policy", "day")
        events = search.page(Filter().only("kind", *_EVENTS), limit=PAGE)
    versions = [
        (name, outcomes[name], sorted(day for day, count in days.get(name, {}).items() if count))
        for name in sorted(outcomes, key=lambda name: max(days.get(name, {"": 0}), default=""), reverse=True)
        if outcomes[name].total()
    ]
    return view.page(
        request, "policies.html.j2", versions=versions[:_MOST_VERSIONS], events=events.rows,
        left_out=max(0, len(versions) - _MOST_VERSIONS),
    )  # fmt: skip


@router.get("/compare")
def compare_page(request: Request, view: ViewOf, first: str, second: str) -> Response:
    """What two versions of a policy did, side by side."""
    names = first, second
    with view.console.search() as search:
        known = search.names("policy")
        for name in names:
            if name not in known:
                raise ConsoleRequestError(
                    f"no request was decided under {name!r}", hint="choose two on the page Policies"
                )
        filters = [Filter().only("policy", name).only("kind", "request") for name in names]
        totals = search.total(filters[0]), search.total(filters[1])
        counts = tuple(search.counts(each, COMPARED) for each in filters)
    groups = compare(names, totals, counts)
    return view.page(request, "compare.html.j2", names=names, totals=totals, groups=groups)


@router.get("/verify")
def verification(request: Request, view: ViewOf) -> Response:
    """The verification of the whole ledger."""
    return view.page(request, "verify.html.j2", job=view.console.verification.state)


@router.post("/verify")
def verify(view: ViewOf) -> Response:
    """Begin to verify the whole ledger."""
    view.console.verification.start()
    return RedirectResponse("/verify", status_code=303)


@router.get("/help")
def help_page(request: Request, view: ViewOf) -> Response:
    """Shortcuts, and what the words mean."""
    return view.page(request, "help.html.j2")


@router.get("/export.csv")
def export_csv(view: ViewOf, chosen: FilterOf) -> Response:
    """All items of the filter as CSV."""
    return _download(view.console, chosen, csv_export, "text/csv; charset=utf-8", "timeline.csv")


@router.get("/export.json")
def export_json(view: ViewOf, chosen: FilterOf) -> Response:
    """All items of the filter as JSON."""
    return _download(view.console, chosen, json_export, "application/json", "timeline.json")


def _download(
    console: Console, chosen: Filter, write: Callable[[Iterable[Item]], Iterator[str]], media_type: str, name: str
) -> Response:
    with console.search() as search:
        search.total(chosen)  # a filter that cannot be answered fails here, while an error page can still be given

    def pieces() -> Iterator[str]:
        with console.search() as search:
            lines = write(search.each(chosen))
            while piece := "".join(islice(lines, _PIECE_LINES)):
                yield piece

    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(pieces(), media_type=media_type, headers=headers)
