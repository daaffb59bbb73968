"""Policies under arbitrary prompts and arbitrary text."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from safegen.errors import PolicyError
from safegen.policy import PromptRequest, decide, load_policy
from safegen.policy.normalise import join, normalise

SOURCE = (Path(__file__).parents[2] / "policies" / "default.yaml").read_text(encoding="utf-8")
POLICY = load_policy(SOURCE, source="default.yaml")
WORDS = sorted({phrase for concept in POLICY.concepts for phrase in concept.phrases} | {"a", "santa fe", "(", ":1.2)"})
PROMPTS = st.text() | st.lists(st.sampled_from(WORDS), max_size=8).map(" ".join)
SMALL = SOURCE[: SOURCE.index("  - name: mermaid")] + "rules: [{id: a, match: any, action: refuse, reason: b}]\n"


@given(PROMPTS)
def test_decide_is_total_and_spans_are_true(prompt: str) -> None:
    """Every prompt gets a decision, whose matches cut their text out of the prompt."""
    decision = decide(POLICY, PromptRequest(prompt=prompt))
    for match in decision.matches:
        assert prompt[match.start : match.end] == match.text
        assert (join(normalise(match.text)) == "") == (match.phrase == "")
    assert decision.action != "refuse" or not (decision.bundle or decision.reviews)


@given(PROMPTS, st.sampled_from(WORDS[2:]))
def test_a_refuse_rule_never_releases_more(prompt: str, phrase: str) -> None:
    """With one refuse rule more, a decision stays as it was or becomes a refusal."""
    extra = {"id": "extra", "match": {"phrases": [phrase]}, "action": "refuse", "reason": "No."}
    rules = [*(rule.model_dump() for rule in POLICY.rules), extra]
    before = decide(POLICY, PromptRequest(prompt=prompt))
    after = decide(POLICY.model_copy(update={"rules": rules}), PromptRequest(prompt=prompt))
    assert after.action == "refuse" or after.model_dump(exclude={"policy"}) == before.model_dump(exclude={"policy"})


@given(PROMPTS)
def test_normalisation_is_idempotent(text: str) -> None:
    """Normalising a normalised text changes nothing."""
    once = join(normalise(text))
    assert join(normalise(once)) == once


@given(st.text() | st.binary() | st.text(alphabet="-:[]{}&*!|>'\"%@`#?, \n\tab"))
@settings(deadline=None)
def test_arbitrary_text_is_a_policy_error(text: str | bytes) -> None:
    """Whatever the loader is given, it answers with a policy or a typed error."""
    _load(text)


@given(
    st.integers(0, len(SMALL)), st.integers(0, 30), st.text(max_size=6) | st.sampled_from(["\t", "- ", ": ", "{", "!!"])
)
@settings(deadline=None, max_examples=60)
def test_mutated_policies_are_typed_errors_or_policies(start: int, length: int, patch: str) -> None:
    """A policy file with a piece cut out and another put in loads or fails with a typed error."""
    _load(SMALL[:start] + patch + SMALL[start + length :])


def _load(text: str | bytes) -> None:
    with suppress(PolicyError):
        load_policy(text, source="any.yaml")
