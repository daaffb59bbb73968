"""Where prevention and review disagree."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from safegen.guard.disagreements import false_triggers, finds_against_membranes
from safegen.guard.gate import Opening
from safegen.guard.result import Seen


def opening(adapter: str, gamma: float, *, rule: str = "r", phrase: str = "cat", matched: str = "") -> Opening:
    item = SimpleNamespace(rule=rule, adapter=adapter, phrases=(phrase,), matched=matched)
    return cast("Opening", SimpleNamespace(item=item, gamma=gamma))


def seen(score: float | None, *, rule: str = "r", label: str = "cat", threshold: float = 0.5) -> Seen:
    return Seen(rule, "clip", label, score, threshold, None if score is not None else "late")


def kinds(openings: list[Opening], *findings: Seen) -> list[tuple[str, str | None]]:
    found = finds_against_membranes(openings, findings, attempt=1, image=2)
    assert all((each.attempt, each.image, each.rule) == (1, 2, "r") for each in found)
    return [(each.kind, each.adapter) for each in found]


def test_a_find_behind_an_open_membrane_is_a_leak() -> None:
    """The adapter acted, and the reviewer of its rule still found the concept."""
    assert kinds([opening("a", 1.0)], seen(0.9)) == [("leak", "a")]


def test_a_find_where_no_membrane_was_open_is_a_miss() -> None:
    """It names the membrane that stayed shut, or none if the decision switched none on."""
    assert kinds([opening("a", 0.0)], seen(0.9)) == [("miss", "a")]
    assert kinds([], seen(0.9)) == [("miss", None)]
    assert kinds([opening("a", 1.0, rule="another")], seen(0.9)) == [("miss", None)]


def test_a_find_speaks_against_the_adapter_whose_concept_it_names() -> None:
    """Of two open membranes of a rule, only the one is blamed that should have erased what was found."""
    both = [opening("a", 1.0, phrase="cat"), opening("b", 1.0, phrase="dog")]
    assert kinds(both, seen(0.9, label="dog")) == [("leak", "b")]
    assert kinds(both, seen(0.9, label="EXPOSED")) == [("leak", "a"), ("leak", "b")]


@pytest.mark.parametrize("score", [0.1, None])
def test_nothing_found_is_no_find(score: float | None) -> None:
    """A low score and a failure speak against no membrane."""
    assert kinds([opening("a", 1.0)], seen(score)) == []


@pytest.mark.parametrize(
    ("membrane", "findings", "suspected"),
    [
        (opening("a", 0.4), [seen(0.1), seen(0.2)], True),
        (opening("a", 0.4, matched="cat"), [seen(0.1)], False),
        (opening("a", 0.0), [seen(0.1)], False),
        (opening("a", 0.4), [seen(0.1), seen(0.3)], False),
        (opening("a", 0.4), [seen(0.1), seen(None)], False),
        (opening("a", 0.4), [seen(0.1, rule="another")], False),
        (opening("a", 0.4), [], False),
    ],
)
def test_a_membrane_that_opened_for_nothing_is_a_suspected_false_trigger(
    membrane: Opening, findings: list[Seen], suspected: Any
) -> None:
    """Only without a matched word, and only if every look of its rule saw less than half of what would be a find."""
    found = false_triggers([membrane], findings)
    assert bool(found) == suspected
    for each in found:
        assert (each.kind, each.adapter, each.score) == ("false_trigger", "a", 0.2)
