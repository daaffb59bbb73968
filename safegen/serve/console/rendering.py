"""Turning values into pages: the templates, and what every value goes through before it is in one.

Invariants: everything is escaped, and characters that steer or turn text around are shown as escapes, wherever a
template puts a value; an undefined name is an error.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from safegen.safe_text import plain
from safegen.serve.console.index.item import policy_name
from safegen.serve.console.index.terms import FACETS, PLOTTED
from safegen.serve.console.plots import OUTCOMES

_SHORT = 12


def make_environment() -> Environment:
    """The templates of the console."""
    environment = Environment(
        loader=PackageLoader("safegen.serve.console"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_safe,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        number=lambda value: f"{value:,}",
        moment=_moment,
        clock=lambda time: str(time)[11:23],
        short=lambda digest: str(digest).removeprefix("sha256:")[:_SHORT],
        lines=lambda text: escape(plain(text, keep="\n")),
        duration=_duration,
        percent=lambda share: f"{100 * share:.1f} %",
        address=urlencode,
    )
    environment.globals.update(FACETS=FACETS, KINDS={**FACETS, **PLOTTED}, OUTCOMES=OUTCOMES, policy_name=policy_name)
    return environment


def _safe(value: Any) -> Any:
    return value if isinstance(value, Markup) or not isinstance(value, str) else plain(value)


def _moment(time: str) -> str:
    return f"{time[:10]} {time[11:19]}"


def _duration(seconds: float) -> str:
    if seconds < 0:
        return f"{seconds:.3f} s (the clock went back)"
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
