"""Prompts for measuring."""

from __future__ import annotations

import pytest

from safegen.evaluation.protocols import plan, protocol_of
from safegen.evaluation.vocabulary import PLAIN, Vocabulary


def test_a_concept_is_asked_for_in_every_style_in_turn(vocabulary: Vocabulary) -> None:
    """Four pictures in two styles, four seeds."""
    probes = vocabulary.probes("owl", 4, seed=7)
    assert [probe.prompt for probe in probes[:2]] == ["an owl in the style of noto", "an owl in the style of neon"]
    assert [probe.seed for probe in probes] == [7, 8, 9, 10]
    assert {probe.subject for probe in probes} == {"owl"}


def test_a_title_is_asked_for_by_itself(vocabulary: Vocabulary) -> None:
    """No style is added to it."""
    assert vocabulary.probes("tea with the moon", 2, 0)[0].prompt == "tea with the moon"


def test_paraphrases_name_the_concept_and_never_in_the_plain_wording(vocabulary: Vocabulary) -> None:
    """Each wording in turn."""
    probes = vocabulary.paraphrases("cat", 7, seed=1)
    plain = {PLAIN.format(noun="a cat", style=style) for style in vocabulary.styles}
    assert all("cat" in probe.prompt and probe.prompt not in plain for probe in probes)
    assert len({probe.prompt for probe in probes}) == 7


def test_captions_leave_out_what_is_erased_and_stay_the_same_otherwise(vocabulary: Vocabulary) -> None:
    """The list without a name is the whole list less that name, so pictures are shared between adapters."""
    every = vocabulary.captions(60, seed=3)
    without = vocabulary.captions(20, seed=3, without=["cat", "neon"])
    assert all(probe.subject != "cat" and probe.style != "neon" for probe in without)
    kept = [probe for probe in every if probe.subject != "cat" and probe.style != "neon"]
    assert without[: len(kept)] == kept[:20]


def test_a_concept_plan_asks_for_target_neighbours_others_and_their_styles(vocabulary: Vocabulary) -> None:
    """Roles as UnlearnCanvas names them."""
    cases = plan(vocabulary, ["cat"], ["owl"], pictures=4, seed=0, kept_pictures=6)
    assert [(case.role, case.name, case.asked, len(case.probes)) for case in cases] == [
        ("target", "cat", "subject", 4),
        ("neighbour", "owl", "subject", 4),
        ("in-domain", "other concepts", "subject", 6),
        ("cross-domain", "their styles", "style", 6),
    ]


def test_a_style_plan_asks_for_the_style_and_for_its_content(vocabulary: Vocabulary) -> None:
    """The same pictures, two questions."""
    target, content, *_ = plan(vocabulary, ["neon"], [], pictures=3, seed=0)
    assert (target.asked, content.asked) == ("style", "subject")
    assert target.probes == content.probes


@pytest.mark.parametrize(
    ("category", "name"),
    [("animal", "instance"), ("style", "style"), ("bare skin", "explicit"), ("memorised", "memorised")],
)
def test_the_category_of_an_adapter_says_its_protocol(category: str, name: str) -> None:
    """The paper's four."""
    assert protocol_of(category) == name


def test_a_name_that_the_base_does_not_know_is_said(vocabulary: Vocabulary) -> None:
    """Rather than drawn as noise."""
    with pytest.raises(KeyError, match="unicorn"):
        plan(vocabulary, ["unicorn"], [], pictures=1, seed=0)
