"""Renders the demonstration as one self-contained HTML page."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

if TYPE_CHECKING:
    from PIL.Image import Image

    from safegen.demo.scenario import Demonstration


def render(demonstration: Demonstration) -> str:
    """The page's HTML; pictures are inside it, nothing is fetched."""
    environment = Environment(
        loader=PackageLoader("safegen.demo"), autoescape=select_autoescape(("html", "j2")), undefined=StrictUndefined
    )
    environment.filters["data_uri"] = _data_uri
    return environment.get_template("demo.html.j2").render(demo=demonstration)


def _data_uri(image: Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
