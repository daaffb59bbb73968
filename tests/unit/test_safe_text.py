"""Nothing that a record holds can steer a terminal, turn a page's text around, or run in a spreadsheet."""

from __future__ import annotations

import csv
import io

import pytest

from safegen.safe_text import as_csv, plain


@pytest.mark.parametrize("text", ["\x1b[2J", "\u202egnp.exe", "\x07", "a\x00b", "\u2066x", "\r\n"])
def test_control_and_direction_characters_become_escapes(text: str) -> None:
    """What is shown is printable, and another text than the one that would act."""
    shown = plain(text)
    assert shown.isprintable()
    assert shown != text


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\uff1d1+1"])
def test_no_cell_begins_a_formula(text: str) -> None:
    """A cell that a spreadsheet would compute is preceded by an apostrophe."""
    (_, (cell,)) = csv.reader(io.StringIO(as_csv(["a"], [[text]])))
    assert cell.startswith("'")


def test_numbers_stay_numbers() -> None:
    """A negative number is no formula."""
    assert as_csv(["a"], [[-1.5]]) == "a\n-1.5\n"
