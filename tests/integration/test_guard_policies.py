"""The guard under policies with shadow rules, redaction, audiences and exceptions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from safegen.guard import Guard
from safegen.guard.result import pixels_digest
from safegen.models import BaseModel, DrawRequest
from safegen.policy import Audience, load_policy
from safegen.spm import Registry

STEPS = 4
HEAD = """
apiVersion: safegen/v1
kind: Policy
id: test
version: 1
base: sticker
concepts:
  - {name: cat, category: object, phrases: [cat], adapter: sticker/cat}
"""


@pytest.fixture
def open_guard(tmp_path: Path, registry: Registry, base: BaseModel) -> Iterator[Any]:
    """Opens guards over the shared base model."""
    opened: list[Guard] = []

    def make(rest: str) -> Guard:
        guard = Guard.open(load_policy(HEAD + rest, source="test.yaml"), ledger=tmp_path / f"ledger{len(opened)}")
        guard.assembly.__dict__["base"] = base
        opened.append(guard)
        return guard

    yield make
    for guard in opened:
        guard.close()


def bare(base: BaseModel, prompt: str) -> str:
    return pixels_digest(base.draw(DrawRequest((prompt,), (5,), steps=STEPS)).images[0])


def test_shadow_rules_do_not_change_a_bit(open_guard: Any, base: BaseModel) -> None:
    """Rules in shadow, whatever their action, leave the picture that the bare model draws, and stand in the trace."""
    guard = open_guard("""
rules:
  - {id: erase, match: {concepts: [cat]}, action: erase, scope: always, mode: shadow}
  - {id: refuse, match: {phrases: [cat]}, action: refuse, reason: No., rollout: {percent: 0}}
  - {id: redact, match: {phrases: [cat]}, action: redact, mode: shadow}
""")
    result = guard.generate("a cat in the style of noto", seed=5, steps=STEPS)
    assert result.images[0].pixels_sha256 == bare(base, "a cat in the style of noto")
    assert {entry.match.rule for entry in result.decision.trace} == {"erase", "refuse", "redact"}


def test_the_redacted_prompt_is_what_is_drawn(open_guard: Any, base: BaseModel) -> None:
    """The picture is that of the prompt without the redacted words."""
    guard = open_guard("rules: [{id: r, match: {phrases: [acme]}, action: redact, replacement: red}]\n")
    result = guard.generate("an acme dog", seed=5, steps=STEPS)
    assert result.images[0].pixels_sha256 == bare(base, "an red dog")


def test_the_audience_reaches_the_policy(open_guard: Any) -> None:
    """A rule for those who have not passed the age gate refuses them and nobody else."""
    guard = open_guard("""
rules:
  - {id: adults, match: {phrases: [beer]}, when: {age_gate: [failed, unknown]}, action: refuse, reason: No.}
""")
    assert guard.generate("a beer", seed=5, steps=STEPS).outcome == "refused"
    adult = guard.generate("a beer", seed=5, steps=STEPS, audience=Audience(age_gate="passed"))
    assert adult.outcome == "released"


@pytest.mark.parametrize(("expires", "outcome"), [("2999-12-31", "released"), ("2000-01-01", "refused")])
def test_exceptions_follow_the_clock_of_the_ledger(open_guard: Any, expires: str, outcome: str) -> None:
    """An exception that holds lifts the refusal, and one that has run out does not."""
    guard = open_guard(f"""
rules:
  - {{id: beer, match: {{phrases: [beer]}}, action: refuse, reason: No.}}
exceptions:
  - {{id: ad, rules: [beer], match: {{phrases: [root beer]}}, owner: Ana, reason: Soda., expires: "{expires}"}}
""")
    assert guard.generate("a root beer", seed=5, steps=STEPS).outcome == outcome
