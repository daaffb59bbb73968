"""Decisions and their precedence."""

from __future__ import annotations

from tests.unit.policy.conftest import allow, decided, erase, refuse

LOOK = {"reviewer": "open_clip"}


def test_an_untouched_prompt_is_allowed() -> None:
    """A prompt that no rule touches has an empty bundle, no reviews and no matches."""
    decision = decided("a tree in Essex", erase(), refuse("sex"))
    assert (decision.action, decision.matches, decision.bundle, decision.reviews) == ("allow", (), (), ())


def test_erase_bundles_what_matched() -> None:
    """Only the concepts whose words stand in the prompt join the bundle, in the policy's order."""
    decision = decided("a gun and two kittens", erase())
    assert decision.action == "erase"
    assert [item.adapter for item in decision.bundle] == ["sticker/cat", "sticker/pistol"]
    assert [match.text for match in decision.matches] == ["gun", "kittens"]


def test_a_plain_phrase_erases_all_concepts_of_its_rule() -> None:
    """A phrase that stands for no concept triggers its whole rule."""
    decision = decided("feline", erase(match={"concepts": ["cat", "pistol"], "phrases": ["feline"]}))
    assert [item.concept for item in decision.bundle] == ["cat", "pistol"]


def test_scope_always_joins_every_bundle() -> None:
    """A rule of scope `always` needs no words, for its bundle and for its reviews."""
    decision = decided("a tree", erase(scope="always", match={"concepts": ["cat"]}, reviews=[LOOK]))
    assert (decision.action, len(decision.bundle), len(decision.reviews)) == ("erase", 1, 1)


def test_a_bundle_says_which_phrase_found_each_concept() -> None:
    """The phrase, not its disguise; what a plain phrase found; nothing where a rule of scope `always` found no word."""
    always = erase(scope="always", match={"concepts": ["cat", "pistol"]})
    assert [item.matched for item in decided("two k1ttens", always).bundle] == ["kitten", ""]
    assert [item.matched for item in decided("a gun", always, erase("weaker", strength=0.5)).bundle] == ["", "gun"]
    plain = erase(match={"concepts": ["cat", "pistol"], "phrases": ["feline"]})
    assert [item.matched for item in decided("a feline and a gun", plain).bundle] == ["feline", "gun"]


def test_refusal_overrides_everything() -> None:
    """One matching refuse rule empties bundle and reviews, wherever it stands, and allow cannot help."""
    decision = decided("a nude cat", allow("nude"), erase(scope="always", reviews=[LOOK]), refuse("nude"))
    assert (decision.action, decision.bundle, decision.reviews) == ("refuse", (), ())
    assert decision.refusal is not None
    assert (decision.refusal.rule, decision.refusal.text, decision.refusal.category) == ("refuse", "nude", "other")


def test_a_refusal_names_the_category() -> None:
    """A refusal by concept carries the concept's category."""
    rule = {"id": "r", "match": {"categories": ["sexual"]}, "action": "refuse", "reason": "No."}
    refusal = decided("nudes", rule).refusal
    assert refusal is not None
    assert refusal.category == "sexual"


def test_the_first_refuse_rule_speaks() -> None:
    """Of several refuse rules that match, the one of the smallest id gives the reason."""
    refusal = decided("b a", refuse("b", rule="two"), refuse("a", rule="one")).refusal
    assert refusal is not None
    assert refusal.rule == "one"


def test_allow_frees_only_its_own_words() -> None:
    """An allowed phrase frees the words that it covers; the same word elsewhere is still erased."""
    assert decided("a water gun", erase(), allow("water gun")).action == "allow"
    assert decided("a water gun, a gun", erase(), allow("water gun")).matches[-1].start == 15


def test_allow_leaves_rules_without_words_alone() -> None:
    """Scope `always` and `match: any` do not depend on words, so no allow rule switches them off."""
    look = {"id": "look", "match": "any", "action": "review", "reviews": [{"reviewer": "nudenet"}]}
    decision = decided("a water gun", erase(scope="always"), look, allow("water gun"))
    assert (decision.action, len(decision.reviews)) == ("erase", 1)


def test_review_rules_never_join_the_bundle() -> None:
    """A review-only rule orders a look and puts nothing into the bundle."""
    decision = decided("santa", erase() | {"action": "review", "reviews": [LOOK]})
    assert (decision.action, decision.bundle) == ("review", ())
    assert decision.reviews[0].targets == ("cat", "pistol", "santa claus", "van gogh")
    assert decision.reviews[0].ladder == ("withhold",)


def test_the_strongest_rule_wins_a_concept() -> None:
    """Where rules erase the same concept it joins once: strength under the ceiling, then an open gate, then the id."""
    weak, capped = erase("weak"), erase("capped", strength=3, ceiling=0.5)
    strong, opened = erase("strong", strength=2), erase("opened", strength=2, transport="open")
    assert [item.rule for item in decided("cat", weak, capped, strong, opened).bundle] == ["opened"]
    assert [item.rule for item in decided("cat", weak, erase("equal")).bundle] == ["equal"]


def test_the_longest_phrase_is_reported() -> None:
    """Phrases of one concept inside a longer one of the same rule are not reported again."""
    assert [match.text for match in decided("Santa  Claus", erase()).matches] == ["Santa  Claus"]


def test_the_negative_prompt_is_not_matched() -> None:
    """Words in the negative prompt ask for nothing."""
    assert decided("a tree", refuse("nude"), negative_prompt="nude").action == "allow"
