"""The demonstration, as `make demo` runs it."""

from __future__ import annotations

from pathlib import Path

from PIL import Image
from typer.testing import CliRunner

from safegen.cli import app


def test_the_demo_ends_with_a_page_a_picture_and_a_verified_ledger(tmp_path: Path) -> None:
    """One command gives a self-contained page with every kind of outcome; what no rule touches has the same bits."""
    done = CliRunner().invoke(app, ["demo", "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    page = (tmp_path / "demo.html").read_text(encoding="utf-8")
    assert "verified with the public key alone" in page
    assert "untouched, the same bits" in page
    assert 'class="badge refused"' in page
    assert "http" not in page.replace("http-equiv", "")
    assert Image.open(tmp_path / "demo.png").width > 1000
