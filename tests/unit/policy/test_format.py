"""What the format lets an author say beyond words and actions: requests, exceptions, shadow, roll-out, redaction."""

from __future__ import annotations

from datetime import date

import pytest

from safegen.policy import Decision, Policy, PromptRequest, decide
from tests.unit.policy.conftest import CONCEPTS, allow, erase, policy_of, refuse

LOOK = {"id": "look", "match": "any", "action": "review", "reviews": [{"reviewer": "nudenet"}]}


def with_exception(*rules: dict[str, object], **fields: object) -> Policy:
    exception = {
        "id": "press",
        "rules": ["refuse"],
        "match": {"phrases": ["nude painting"]},
        "owner": "Ana",
        "reason": "Museum",
        "expires": "2026-05-31",
        **fields,
    }
    return policy_of(*rules).model_copy(update={"exceptions": [exception]})


def ask(policy: Policy, prompt: str, now: date | None = date(2026, 5, 1), **fields: object) -> Decision:
    return decide(policy, PromptRequest.model_validate({"prompt": prompt, **fields}), now=now)


def statuses(decision: Decision) -> list[tuple[str, str]]:
    return [(entry.match.rule, entry.status) for entry in decision.trace]


def test_an_exception_lifts_a_refusal_for_its_words_only() -> None:
    """An exception frees the words that it names, and leaves the same word elsewhere refused."""
    policy = with_exception(refuse("nude"))
    assert ask(policy, "a nude painting").action == "allow"
    assert statuses(ask(policy, "a nude painting")) == [("refuse", "excepted")]
    assert ask(policy, "a nude painting of a nude").action == "refuse"


@pytest.mark.parametrize(
    ("now", "action"), [(date(2026, 5, 31), "allow"), (date(2026, 6, 1), "refuse"), (None, "refuse")]
)
def test_an_exception_ends_after_its_last_day(now: date | None, action: str) -> None:
    """An exception holds on the day that it names, not after it, and never without a clock."""
    assert ask(with_exception(refuse("nude")), "nude painting", now).action == action


def test_an_exception_for_a_tenant_needs_the_tenant_stated() -> None:
    """What frees a tenant does not free a request that states none."""
    policy = with_exception(refuse("nude"), match="any", when={"tenants": ["museum"]})
    assert ask(policy, "nude", tenant="museum").action == "allow"
    assert ask(policy, "nude", tenant="other").action == "refuse"
    assert ask(policy, "nude").action == "refuse"


def test_a_worded_exception_leaves_rules_without_words_alone() -> None:
    """An exception for words does not lift a rule that looks at every prompt."""
    decision = ask(with_exception(LOOK, rules=["look"]), "nude painting")
    assert decision.action == "review"


def test_an_absolute_rule_takes_no_exceptions() -> None:
    """An exception from an absolute rule makes an inconsistent policy."""
    with pytest.raises(ValueError, match="absolute"):
        with_exception(refuse("nude") | {"absolute": True})


def test_doubt_about_a_request_counts_against_it() -> None:
    """Without a stated market, rules that restrict it apply and rules that allow in it do not."""
    strict = policy_of(refuse("gun") | {"when": {"markets": ["de"]}})
    assert [ask(strict, "gun", market=market).action for market in ("de", "us", None)] == ["refuse", "allow", "refuse"]
    lax = policy_of(erase(), allow("gun") | {"when": {"markets": ["us"]}})
    assert [ask(lax, "gun", market=market).action for market in ("de", "us", None)] == ["erase", "allow", "erase"]


def test_the_age_gate_is_an_attribute() -> None:
    """A rule for those who have not passed the age gate does not touch those who have."""
    policy = policy_of(refuse("nude") | {"when": {"age_gate": ["failed", "unknown"]}})
    assert ask(policy, "nude", age_gate="passed").action == "allow"
    assert ask(policy, "nude").action == "refuse"


@pytest.mark.parametrize("rule", [refuse("gun"), erase(), LOOK, allow("gun")])
def test_a_shadow_rule_is_traced_and_changes_nothing(rule: dict[str, object]) -> None:
    """A rule in shadow leaves the decision as it is without it, and stands in the trace."""
    other = erase("other", match={"concepts": ["cat"]})
    without = ask(policy_of(other), "a gun and a cat")
    with_it = ask(policy_of(other, {**rule, "mode": "shadow"}), "a gun and a cat")
    assert (str(rule["id"]), "shadow") in statuses(with_it)
    assert with_it.model_dump(exclude={"trace", "policy"}) == without.model_dump(exclude={"trace", "policy"})


def test_a_policy_in_shadow_decides_nothing() -> None:
    """In a policy of mode shadow no rule is in force."""
    policy = policy_of(refuse("gun"), LOOK).model_copy(update={"mode": "shadow"})
    assert ask(policy, "gun").action == "allow"
    assert {status for _, status in statuses(ask(policy, "gun"))} == {"shadow"}


def test_a_roll_out_reaches_its_share_and_only_grows() -> None:
    """A roll-out reaches about its percentage of subjects, and raising it keeps those who were in."""

    def reached(percent: float) -> set[str]:
        policy = policy_of(refuse("gun") | {"rollout": {"percent": percent, "seed": "s"}})
        return {one for one in map(str, range(1000)) if ask(policy, "gun", subject=one).action == "refuse"}

    few, more = reached(10), reached(40)
    assert 70 < len(few) < 130
    assert few < more
    assert (reached(0), len(reached(100))) == (set(), 1000)


def test_redaction_takes_words_out_of_the_prompt() -> None:
    """The prompt to draw has the replacement in place of the words; spans still point into the original."""
    redact = {"id": "redact", "match": {"phrases": ["acme cola"]}, "action": "redact", "replacement": "a soda"}
    decision = ask(policy_of(redact), "A can of  Acme  Cola, red")
    assert (decision.action, decision.prompt) == ("redact", "A can of  a soda, red")
    assert decision.matches[0].text == "Acme  Cola"


def test_what_redaction_leaves_is_judged_again() -> None:
    """Taking a word out must not put two others together that a rule forbids."""
    redact = {"id": "redact", "match": {"phrases": ["xyz"]}, "action": "redact"}
    policy = policy_of(redact, refuse("van gogh"))
    assert ask(policy, "van xyz gogh").action == "refuse"
    assert ask(policy_of(redact, erase()), "van xyz gogh").bundle[0].concept == "van gogh"


def test_a_prompt_of_which_nothing_is_left_is_refused() -> None:
    """If redaction takes everything, nothing is drawn."""
    redact = {"id": "redact", "match": {"phrases": ["xyz"]}, "action": "redact"}
    decision = ask(policy_of(redact), "xyz!")
    assert decision.action == "refuse"
    assert decision.refusal is not None
    assert decision.refusal.rule == "redact"


def test_a_prompt_of_which_nothing_is_left_in_the_end_is_refused() -> None:
    """Redaction that takes everything only in its second round is refused too."""
    first = {"id": "first", "match": {"phrases": ["foo"]}, "action": "redact", "replacement": "bar"}
    second = {"id": "second", "match": {"phrases": ["bar"]}, "action": "redact"}
    assert ask(policy_of(first, second), "foo").action == "refuse"
    assert ask(policy_of(first, second), "foo tree").prompt == " tree"


def test_redaction_that_never_ends_is_refused() -> None:
    """A replacement that asks for itself ends in a refusal and not in a loop."""
    redact = {"id": "redact", "match": {"phrases": ["xyz"]}, "action": "redact", "replacement": "more xyz"}
    assert ask(policy_of(redact), "an xyz").action == "refuse"


def test_aliases_match_like_phrases() -> None:
    """Words in other languages stand for the concept just like its phrases."""
    cat = {**CONCEPTS[0], "aliases": {"de": ["Katze"], "ja": ["猫"]}}
    policy = policy_of(erase(match={"concepts": ["cat"]})).model_copy(update={"concepts": [cat]})
    assert [ask(policy, prompt).action for prompt in ("eine Katze", "猫", "Katzenjammer")] == [
        "erase",
        "erase",
        "allow",
    ]


def test_an_exception_must_be_narrow() -> None:
    """An exception for every word of every request is no exception."""
    with pytest.raises(ValueError, match="everything"):
        with_exception(refuse("nude"), match="any")


def test_words_alongside_must_stand_in_the_same_prompt() -> None:
    """A rule with `alongside` needs one of its words and one of the others, in any order, and reports its own."""
    rule = refuse("nude") | {"match": {"phrases": ["nude"], "alongside": {"phrases": ["child"]}}}
    policy = policy_of(rule)
    assert ask(policy, "a nude").action == ask(policy, "a child").action == "allow"
    for prompt in ("a child, nude", "a nude and a c h i l d"):
        decision = ask(policy, prompt)
        assert (decision.action, [match.text for match in decision.matches]) == ("refuse", ["nude"])


def test_words_alongside_are_checked() -> None:
    """Unknown names and nothing at all are no companions."""
    for companions in ({"concepts": ["dragon"]}, {}, {"phrases": ["..."]}):
        with pytest.raises(ValueError, match=r"match\.alongside"):
            policy_of(refuse("nude") | {"match": {"phrases": ["nude"], "alongside": companions}})
