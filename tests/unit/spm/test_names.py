"""Names in text, by whole words."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from safegen.spm.names import NameIndex, compounds, plural


def _found(text: str, *phrases: str, longer: tuple[str, ...] = ()) -> dict[int, str]:
    return NameIndex([(phrases, longer)]).find(text)


def test_a_name_is_found_whole_in_any_case_and_in_the_plural() -> None:
    """Finds are "Santa-Claus", "SANTA CLAUS" and "cats"; "santa" alone and "scatter" are none."""
    assert _found("SANTA-CLAUS on a roof", "santa claus") == {0: "santa claus"}
    assert _found("two cats", "dog", "cat") == {0: "cat"}
    assert _found("a santa, and a mr claus", "santa claus") == {}
    assert _found("scatter", "cat") == {}


def test_a_name_inside_the_name_of_another_thing_is_no_find() -> None:
    """The word "fire" in "fire engines" means no fire; a fire beside the fire engine does."""
    assert _found("three fire engines", "fire", longer=("fire engine",)) == {}
    assert _found("a fire engine at a fire", "fire", longer=("fire engine",)) == {0: "fire"}


def test_compounds_hold_a_phrase_and_are_not_phrases() -> None:
    """The longer names among a vocabulary that hold a phrase as whole words."""
    names = ("christmas tree", "tree", "treehouse", "santa claus")
    assert compounds(["tree", "santa", "santa claus"], names) == ("christmas tree",)


def test_regular_plurals() -> None:
    """Endings that take -es, -ies, or -s."""
    assert [plural(word) for word in ("cat", "fox", "brush", "fairy", "monkey")] == [
        "cats",
        "foxes",
        "brushes",
        "fairies",
        "monkeys",
    ]


@given(st.lists(st.sampled_from(["fire", "engine", "a", "tree", "palm"]), max_size=6))
def test_an_index_finds_for_each_concept_what_it_finds_alone(text: list[str]) -> None:
    """Which other concepts are looked up beside one changes nothing."""
    concepts = [(("fire",), ("fire engine",)), (("tree",), ("palm tree",)), (("engine", "a tree"), ())]
    together = NameIndex(concepts).find(" ".join(text))
    alone = {at: NameIndex([concept]).find(" ".join(text)) for at, concept in enumerate(concepts)}
    assert together == {at: found[0] for at, found in alone.items() if found}
