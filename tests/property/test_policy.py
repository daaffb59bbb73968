"""Policies under arbitrary prompts and arbitrary text."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random

import rfc8785
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from safegen.errors import PolicyError
from safegen.policy import Policy, PromptRequest, decide, load_policy
from safegen.policy.canonical import canonical_json
from safegen.policy.layout import laid_out
from safegen.policy.normalise import BARRIER, fold, join, normalise
from safegen.policy.phrases import PhraseIndex

SOURCE = (Path(__file__).parents[2] / "policies" / "default.yaml").read_text(encoding="utf-8")
POLICY = load_policy(SOURCE, source="default.yaml")
WORDS = sorted({phrase for concept in POLICY.concepts for phrase in concept.phrases} | {"a", "santa fe", "(", ":1.2)"})
PROMPTS = st.text() | st.lists(st.sampled_from(WORDS), max_size=8).map(" ".join)
DISGUISES: dict[str, Callable[[str, Random], str]] = {
    "case": lambda text, _: text.swapcase(),
    "full width": lambda text, _: "".join(chr(ord(one) + 0xFEE0) if "!" <= one <= "~" else one for one in text),
    "accent": lambda text, draw: _inserted(text, draw, "\u0301"),
    "zero width": lambda text, draw: _inserted(text, draw, "\u200b"),
    "triple": lambda text, draw: _inserted(text, draw, None),
    "leet": lambda text, draw: text.replace(*draw.choice(["o0", "e3", "s$", "a@"])),
    "weight": lambda text, _: f"({text}:1.2)",
    "brackets": lambda text, _: f"[[{text}]]",
}
SPELT = st.text("abcdefghijklmnopqrstuvwxyz", min_size=4, max_size=9).filter(lambda word: len(set(word)) > 1)
SMALL = SOURCE[: SOURCE.index("  - name: mermaid")] + "rules: [{id: a, match: any, action: refuse, reason: b}]\n"


@given(PROMPTS)
@settings(deadline=None)
def test_decide_is_total_and_spans_are_true(prompt: str) -> None:
    """Every prompt gets a decision, whose matches cut their text out of the prompt."""
    decision = decide(POLICY, PromptRequest(prompt=prompt))
    for match in decision.matches:
        assert prompt[match.start : match.end] == match.text
        assert (join(normalise(match.text)) == "") == (match.phrase == "")
    assert decision.action != "refuse" or not (decision.bundle or decision.reviews)


@given(PROMPTS, st.sampled_from(WORDS[2:]))
@settings(deadline=None)
def test_a_refuse_rule_never_releases_more(prompt: str, phrase: str) -> None:
    """With one refuse rule more, a decision stays as it was or becomes a refusal."""
    extra = {"id": "extra", "match": {"phrases": [phrase]}, "action": "refuse", "reason": "No."}
    rules = [*(rule.model_dump() for rule in POLICY.rules), extra]
    before = decide(POLICY, PromptRequest(prompt=prompt))
    after = decide(POLICY.model_copy(update={"rules": rules}), PromptRequest(prompt=prompt))
    assert after.action == "refuse" or after.model_dump(exclude={"policy"}) == before.model_dump(exclude={"policy"})


@given(PROMPTS, st.randoms())
@settings(deadline=None, max_examples=50)
def test_the_order_of_rules_and_concepts_does_not_matter(prompt: str, draw: Random) -> None:
    """However the rules and concepts of a file are shuffled, digest and decision are the same."""
    shuffled = POLICY.model_dump()
    for key in ("rules", "concepts"):
        shuffled[key] = draw.sample(shuffled[key], len(shuffled[key]))
    other = POLICY.model_copy(update=shuffled)
    assert other.digest == POLICY.digest
    request = PromptRequest(prompt=prompt)
    assert decide(other, request) == decide(POLICY, request)


@given(PROMPTS, st.sampled_from(WORDS[2:]), st.sampled_from(["erase", "review", "allow", "redact"]))
@settings(deadline=None)
def test_a_shadow_rule_never_changes_anything(prompt: str, phrase: str, action: str) -> None:
    """A rule of any kind in shadow leaves everything but the trace as it was."""
    extra: dict[str, object] = {"id": "extra", "match": {"phrases": [phrase]}, "action": action, "mode": "shadow"}
    if action == "erase":
        extra["match"] = {"concepts": ["cat"], "phrases": [phrase]}
    if action == "review":
        extra["reviews"] = [{"reviewer": "nudenet"}]
    rules = [*(rule.model_dump() for rule in POLICY.rules), extra]
    before = decide(POLICY, PromptRequest(prompt=prompt))
    after = decide(POLICY.model_copy(update={"rules": rules}), PromptRequest(prompt=prompt))
    left_out = {"policy", "trace"}
    assert after.model_dump(exclude=left_out) == before.model_dump(exclude=left_out)


@given(st.text("abcdefgh", min_size=1, max_size=12), st.text("abcdefgh", min_size=1, max_size=3), st.booleans())
@settings(deadline=None)
def test_letters_around_a_word_hide_it(word: str, more: str, before: bool) -> None:
    """A phrase is not found inside a longer word, unless that only repeats its letters or is its plural."""
    longer = more + word if before else word + more
    found = PhraseIndex([(word, None)]).read(f"the {longer} tree").found
    repeats = re.sub(r"(.)\1+", r"\1", longer) == re.sub(r"(.)\1+", r"\1", word)
    assert not found or repeats


@given(
    st.lists(SPELT, min_size=1, max_size=3),
    st.lists(st.sampled_from(sorted(DISGUISES)), max_size=2, unique=True),
    st.randoms(),
)
@settings(deadline=None)
def test_disguised_phrases_are_found_where_they_stand(words: list[str], names: list[str], draw: Random) -> None:
    """A phrase behind two disguises is found, and its span cuts it out of the prompt."""
    disguised = " ".join(words)
    for name in names:
        disguised = DISGUISES[name](disguised, draw)
    prompt = f"(tree), {disguised}, [house]"
    reading = PhraseIndex([(" ".join(words), None)]).read(prompt)
    assert any(
        prompt[reading.words[first].start : reading.words[last].end].strip("\u0301\u200b") in prompt
        and "tree" not in prompt[reading.words[first].start : reading.words[last].end]
        for first, last, _ in reading.found
    )


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(1 - 2**53, 2**53 - 1)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(),
        lambda one: st.lists(one) | st.dictionaries(st.text(), one),
    )
)
@settings(deadline=None)
def test_canonical_json_is_that_of_the_standard(data: object) -> None:
    """The fast writer gives the bytes of the reference implementation of RFC 8785."""
    assert canonical_json(data) == rfc8785.dumps(data)  # type: ignore[arg-type]


@given(PROMPTS)
@example("0\u0e33")
@settings(deadline=None)
def test_normalisation_is_idempotent(text: str) -> None:
    """Normalising a normalised text changes nothing, unless it is shown backwards and read that way as well."""
    assume(BARRIER not in fold(text).text)
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


@given(st.lists(st.text(min_size=1, max_size=30).filter(lambda one: any(map(str.isalnum, one))), max_size=4), st.text())
@settings(deadline=None, max_examples=60)
def test_layout_never_changes_what_a_policy_says(phrases: list[str], reason: str) -> None:
    """Whatever stands in a policy, laid out it has the same digest, or it is left alone with a typed error."""
    data = {"reason": f"a{reason}", "id": "extra", "action": "refuse", "match": {"phrases": ["x", *phrases]}}
    text = SMALL[: SMALL.index("rules:")] + f"rules: [{json.dumps(data)}]\n"
    with suppress(PolicyError):
        before = load_policy(text, source="any.yaml")
        assert load_policy(laid_out(text, source="any.yaml"), source="any.yaml").digest == before.digest


def _inserted(text: str, draw: Random, mark: str | None) -> str:
    """The text with a mark after one of its letters, or with that letter three times."""
    at = draw.choice([place for place, one in enumerate(text) if one not in " ()[]:.123$@\u0301\u200b"])
    return text[: at + 1] + (text[at] * 2 if mark is None else mark) + text[at + 1 :]


def _load(text: str | bytes) -> None:
    with suppress(PolicyError):
        load_policy(text, source="any.yaml")


@given(st.lists(st.sampled_from(WORDS[2:]), min_size=3, max_size=3, unique=True), PROMPTS, st.randoms())
@settings(deadline=None, max_examples=30)
def test_the_order_of_files_does_not_matter(phrases: list[str], prompt: str, draw: Random) -> None:
    """However the files that a policy extends are ordered, digest and decision are the same."""
    head = "apiVersion: safegen/v1\nkind: Policy\nversion: 1\n"
    files = {
        f"f{at}.yaml": f"{head}id: f{at}\nbase: sticker\nrules:\n"
        f"  - {{id: r{at}, match: {{phrases: [{json.dumps(phrase)}]}}, action: refuse, reason: No.}}\n"
        for at, phrase in enumerate(phrases)
    }

    def of(names: list[str]) -> Policy:
        return load_policy(f"{head}id: top\nextends: [{', '.join(names)}]\n", source="top.yaml", read=files.__getitem__)

    one, other = of(list(files)), of(draw.sample(list(files), len(files)))
    assert one.digest == other.digest
    assert decide(one, PromptRequest(prompt=prompt)) == decide(other, PromptRequest(prompt=prompt))
