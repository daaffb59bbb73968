"""Reviewers by name: built-in ones and those of other packages."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from safegen.errors import ReviewError
from safegen.review import load_reviewer, plugins, reviewer_class, reviewer_names


class Stub:
    """A third party's reviewer."""

    name = "stub"
    digest = "sha256:" + "0" * 64

    @classmethod
    def load(cls, _folder: Path | None, **_digest: str | None) -> Any:
        return cls()

    def review(self, images: object, question: object) -> list[object]:
        return []


class Vague(Stub):
    """States no real digest."""

    digest = "latest"


class Hollow:
    """Loads something that cannot review."""

    @classmethod
    def load(cls, _folder: Path | None, **_digest: str | None) -> object:
        return object()


class Broken:
    """Cannot load."""

    @classmethod
    def load(cls, _folder: Path | None, **_digest: str | None) -> object:
        raise OSError("disk on fire")


Offer = Callable[..., None]


@pytest.fixture
def offer(monkeypatch: pytest.MonkeyPatch) -> Offer:
    """Makes other packages offer reviewers, by name and where they lie."""
    module = ModuleType("third_party")
    for kind in (Stub, Vague, Hollow, Broken):
        setattr(module, kind.__name__, kind)
    module.instance = Stub()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "third_party", module)

    def install(*points: tuple[str, str]) -> None:
        offered = EntryPoints(EntryPoint(name, value, plugins.GROUP) for name, value in points)
        monkeypatch.setattr(plugins, "entry_points", offered.select)

    return install


def test_built_in_reviewers_need_no_installation(offer: Offer) -> None:
    """Their names are known with no entry point at all."""
    offer()
    assert reviewer_names() == ("nudenet", "open_clip")
    assert reviewer_class("nudenet").__name__ == "NudeNetReviewer"


def test_another_packages_reviewer_is_found_and_loaded(offer: Offer) -> None:
    """An entry point of the group is all it takes."""
    offer(("stub", "third_party:Stub"))
    assert reviewer_names() == ("nudenet", "open_clip", "stub")
    assert reviewer_class("stub") is Stub
    assert isinstance(load_reviewer("stub"), Stub)


def test_a_built_in_name_cannot_be_taken_over(offer: Offer) -> None:
    """A package that claims one makes the name unusable until it is gone, rather than slipping in."""
    offer(("nudenet", "third_party:Stub"))
    with pytest.raises(ReviewError, match=r"claimed by .*third_party:Stub"):
        reviewer_class("nudenet")


def test_our_own_entry_points_are_no_take_over(offer: Offer) -> None:
    """A built-in that is also declared as an entry point is the same reviewer."""
    offer(("nudenet", "safegen.review.nudenet_reviewer:NudeNetReviewer"))
    assert reviewer_class("nudenet").__name__ == "NudeNetReviewer"


def test_a_name_that_two_packages_claim_is_an_error(offer: Offer) -> None:
    """Neither wins by chance."""
    offer(("stub", "third_party:Stub"), ("stub", "third_party:Hollow"))
    with pytest.raises(ReviewError, match="claimed by"):
        reviewer_class("stub")


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ("nowhere:Stub", "cannot be imported"),
        ("third_party:Missing", "cannot be imported"),
        ("third_party:instance", "no class with a `load`"),
        ("third_party:Hollow", "is no reviewer"),
        ("third_party:Broken", "disk on fire"),
        ("third_party:Vague", "'latest'"),
    ],
)
def test_what_is_no_reviewer_is_an_error(offer: Offer, value: str, complaint: str) -> None:
    """Whatever is wrong with an offer ends as a `ReviewError` that says so."""
    offer(("stub", value))
    with pytest.raises(ReviewError, match=complaint):
        load_reviewer("stub")


def test_an_unknown_reviewer_is_an_error_with_a_hint() -> None:
    """A misspelt name says what was probably meant, any other lists what there is."""
    with pytest.raises(ReviewError, match="did you mean 'nudenet'"):
        load_reviewer("nudnet")
    with pytest.raises(ReviewError, match="known here: nudenet, open_clip"):
        reviewer_class("zzz")
