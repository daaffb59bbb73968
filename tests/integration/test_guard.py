"""The whole path on the shipped model: policy, gate, membranes, reviewers, ledger."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from safegen.errors import AdapterIntegrityError, LedgerError, LedgerWriteError, ModelError, PolicyError
from safegen.guard import Guard
from safegen.guard.result import pixels_digest
from safegen.ledger import Ledger, LedgerReader, PromptKeys, verify_ledger
from safegen.models import BaseModel, DrawRequest
from safegen.policy import load_policy
from safegen.review import Question, Scores
from safegen.spm import Registry

STEPS = 4
RULES = """
apiVersion: safegen/v1
kind: Policy
id: test
version: 1
description: one rule of each kind
base: sticker
concepts:
  - {name: cat, category: object, phrases: [cat], adapter: sticker/cat}
rules:
  - {id: refuse, match: {phrases: [nude]}, action: refuse, reason: Not here.}
  - id: erase
    match: {concepts: [cat]}
    action: erase
    reviews: [{reviewer: told, threshold: 0.5}]
"""


class Told:
    """A reviewer that reads its scores from a list, one a call."""

    name = "told"
    digest = "sha256:" + "0" * 64

    def __init__(self, scores: Sequence[float]) -> None:
        self.scores = list(scores)

    def review(self, images: Sequence[Image.Image], question: Question) -> list[Scores]:
        score = self.scores.pop(0)
        return [Scores(dict.fromkeys(question.targets, score)) for _ in images]


@pytest.fixture
def open_guard(tmp_path: Path, registry: Registry, base: BaseModel) -> Iterator[Any]:
    """Opens guards over the shared base model, each with a ledger of its own."""
    opened: list[Guard] = []

    def make(scores: Sequence[float] = (), rules: str = RULES) -> Guard:
        policy = load_policy(rules, source="test.yaml")
        guard = Guard.open(policy, ledger=tmp_path / f"ledger{len(opened)}", reviewers={"told": Told(scores)})
        guard.assembly.__dict__["base"] = base
        opened.append(guard)
        return guard

    yield make
    for guard in opened:
        guard.close()


def stages(guard: Guard) -> list[str]:
    reader = LedgerReader.open_read_only(guard.ledger_folder)
    found = [entry.record.stage for entry in reader.entries()]
    reader.close()
    return found


def test_a_prompt_that_no_rule_touches_gives_the_bare_models_bits(open_guard: Any, base: BaseModel) -> None:
    """Law: non-invasive."""
    bare = base.draw(DrawRequest(("a dog in the style of noto",), (5,), steps=STEPS)).images[0]
    guarded = open_guard().generate("a dog in the style of noto", seed=5, steps=STEPS)
    assert guarded.outcome == "released"
    assert guarded.images[0].pixels_sha256 == pixels_digest(bare)


def test_an_erased_prompt_draws_something_else_and_leaves_the_model_bare(open_guard: Any, base: BaseModel) -> None:
    """The membrane opens to 1 on its own word, changes the picture, and every weight is back afterwards."""
    before = [parameter.detach().clone() for target in base.targets().values() for parameter in target.parameters()]
    bare = base.draw(DrawRequest(("a cat in the style of noto",), (5,), steps=STEPS)).images[0]
    guard = open_guard([0.1])
    result = guard.generate("a cat in the style of noto", seed=5, steps=STEPS)
    assert [(m.adapter, m.gamma) for m in result.membranes] == [("sticker/cat", 1.0)]
    assert result.images[0].pixels_sha256 != pixels_digest(bare)
    after = [parameter for target in base.targets().values() for parameter in target.parameters()]
    assert all(torch.equal(old, new) for old, new in zip(before, after, strict=True))
    assert stages(guard) == ["requested", "decided", "drawn", "reviewed", "closed"]


def test_a_refusal_is_a_value_and_draws_nothing(open_guard: Any) -> None:
    """Refused, with rule and words, and a receipt; no `drawn` in the ledger."""
    guard = open_guard()
    result = guard.generate("a nude cat")
    assert (result.outcome, result.images) == ("refused", ())
    assert result.decision.refusal.text == "nude"
    assert stages(guard) == ["requested", "decided", "closed"]
    assert result.receipt.index == 2


def test_the_ladder_escalates_then_reseeds_then_withholds(open_guard: Any) -> None:
    """Three finds: membranes open further, then the seed changes, then nothing is handed out."""
    guard = open_guard([0.9, 0.9, 0.9])
    result = guard.generate("a cat", seed=5, steps=STEPS)
    assert (result.outcome, result.attempts) == ("withheld", 3)
    assert (result.images[0].image, result.images[0].png) == (None, b"")
    assert result.membranes[0].gamma == 2.0
    assert result.images[0].seed != 5


def test_a_find_that_escalation_heals_is_released(open_guard: Any) -> None:
    """The second attempt, with wider membranes and the same seed, passes, and the leak is on record."""
    guard = open_guard([0.9, 0.1])
    result = guard.generate("a cat", seed=5, steps=STEPS)
    assert (result.outcome, result.attempts, result.images[0].seed) == ("released", 2, 5)
    reader = LedgerReader.open_read_only(guard.ledger_folder)
    closed = list(reader.entries())[-1].record
    reader.close()
    assert [each.kind for each in closed.disagreements] == ["leak"]


def test_rules_for_one_market_act_there_and_nowhere_else(open_guard: Any) -> None:
    """The audience of a request reaches the policy; a market that is not stated counts as the strictest."""
    german = """
  - {id: no-dogs, match: {phrases: [dog]}, action: refuse, reason: Not there., when: {markets: [de]}}
"""
    guard = open_guard([], RULES + german)
    outcomes = {
        market: guard.generate("a dog", seed=5, steps=1, audience={"market": market} if market else None).outcome
        for market in ("de", "fr", "")
    }
    assert outcomes == {"de": "refused", "fr": "released", "": "refused"}


def test_redacted_words_are_neither_drawn_nor_refused(open_guard: Any, base: BaseModel) -> None:
    """What a redact rule takes out of the prompt is drawn as if it had never been there."""
    redacting = """
  - {id: no-fluent, match: {phrases: [in the style of fluent]}, action: redact}
"""
    result = open_guard([], RULES + redacting).generate("a dog in the style of fluent", seed=5, steps=STEPS)
    bare = base.draw(DrawRequest((result.decision.prompt,), (5,), steps=STEPS)).images[0]
    assert "fluent" not in result.decision.prompt
    assert result.images[0].pixels_sha256 == pixels_digest(bare)


def records_of(guard: Guard) -> dict[str, Any]:
    """The last record of each stage."""
    with LedgerReader.open_read_only(guard.ledger_folder) as reader:
        return {entry.record.stage: entry.record for entry in reader.entries()}


def test_the_ledger_says_for_whom_why_and_who_decided(open_guard: Any) -> None:
    """Audience, rule in shadow, what opened the gate, where it was drawn, and the reviewers whose word it was."""
    shadow = """
  - {id: trial, match: {phrases: [style]}, action: refuse, reason: Not yet., mode: shadow}
"""
    guard = open_guard([0.1], RULES + shadow)
    guard.generate("a cat in style", seed=5, steps=1, audience={"tenant": "acme", "subject": "user-1"})
    found = records_of(guard)
    audience = found["requested"].audience
    assert (audience.tenant, audience.age_gate) == ("acme", "unknown")
    assert audience.subject_commitment not in (None, "user-1")
    assert [(one.rule, one.action) for one in found["decided"].shadow] == [("trial", "refuse")]
    assert [(one.kind, one.name) for one in found["decided"].decided_by] == [("rule", "erase")]
    (opened,) = found["drawn"].permeabilities
    assert (opened.phrase, opened.similarity) == ("cat", 1.0)
    assert found["drawn"].images == (0,)
    assert "processor" in found["drawn"].environment
    assert [(one.kind, one.name) for one in found["closed"].decided_by] == [("reviewer", "told")]


def test_a_policy_can_have_prompts_sealed(open_guard: Any) -> None:
    """What was asked is in the ledger encrypted, opens with the folder's keys, and stands nowhere in the clear."""
    guard = open_guard([], RULES + "records: {prompts: sealed}\n")
    guard.generate("a zebra", negative_prompt="stripes", seed=5, steps=1)
    record, folder = records_of(guard)["requested"], guard.ledger_folder
    keys = PromptKeys(folder)
    assert keys.open(record.request_id, "prompt", record.sealed_prompt) == "a zebra"
    assert keys.open(record.request_id, "negative_prompt", record.sealed_negative_prompt) == "stripes"
    assert not any(b"zebra" in path.read_bytes() for path in folder.iterdir())


def test_content_credentials_are_accounted_for(open_guard: Any) -> None:
    """A file that was signed after drawing is in the ledger with its digests before and after."""
    guard = open_guard()
    guard.sign_image = lambda png: png + b"signed"
    (image,) = guard.generate("a dog", seed=5, steps=1).images
    (outcome,) = records_of(guard)["closed"].images
    assert image.png.endswith(b"signed")
    assert outcome.signed_sha256 == hashlib.sha256(image.png).hexdigest()
    assert outcome.png_sha256 == hashlib.sha256(image.png[: -len(b"signed")]).hexdigest()


def test_redacted_prompts_are_committed_to_as_drawn(open_guard: Any) -> None:
    """The ledger commits to what was asked and to what was drawn, which differ."""
    redacting = """
  - {id: no-fluent, match: {phrases: [in the style of fluent]}, action: redact}
"""
    guard = open_guard([], RULES + redacting)
    result = guard.generate("a dog in the style of fluent", seed=5, steps=1)
    found = records_of(guard)
    assert found["decided"].drawn_prompt_commitment == guard._ledger.commit(result.decision.prompt)
    assert found["requested"].prompt_commitment == guard._ledger.commit("a dog in the style of fluent")


def test_what_no_disk_takes_hands_out_no_image(open_guard: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the last commit fails the call raises, and the request is found open, so that it is closed as recovered."""
    guard = open_guard()
    monkeypatch.setattr(Ledger, "append_signed", failing)
    with pytest.raises(LedgerWriteError, match="disk is full"):
        guard.generate("a dog", seed=5, steps=1)
    assert stages(guard) == ["requested", "decided"]
    assert len(guard._ledger.recover(grace=timedelta(0))) == 1


def failing(*_: object) -> None:
    raise LedgerWriteError("the disk is full")


def test_nothing_is_drawn_if_the_first_commit_fails(open_guard: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """`requested` and `decided` are durable before the first step of drawing, or there is none."""
    guard, steps = open_guard(), []
    monkeypatch.setattr(Ledger, "append_many", failing)
    with pytest.raises(LedgerWriteError, match="disk is full"):
        guard.generate("a dog", seed=5, steps=2, progress=lambda done, _: steps.append(done))
    assert steps == []
    assert stages(guard) == []


def test_one_rule_escalates_while_another_reseeds(open_guard: Any) -> None:
    """Two rules find something at once: both get what they ask for, the wider membrane and the other seed."""
    reseeding = """
  - id: look
    match: {concepts: [cat]}
    action: review
    reviews: [{reviewer: told, threshold: 0.3, ladder: [reseed, withhold]}]
"""
    result = open_guard([0.9, 0.9, 0.1, 0.1], RULES + reseeding).generate("a cat", seed=5, steps=STEPS)
    assert (result.outcome, result.attempts, result.membranes[0].gamma) == ("released", 2, 2.0)
    assert result.images[0].seed != 5


@pytest.mark.parametrize("score", [float("nan"), 2.0])
def test_a_broken_reviewer_withholds(open_guard: Any, score: float) -> None:
    """Law: fail closed."""
    result = open_guard([score]).generate("a cat", seed=5, steps=STEPS)
    assert result.outcome == "withheld"
    assert result.images[0].seen[0].failure


def test_an_interrupted_drawing_is_closed_and_the_model_restored(open_guard: Any, base: BaseModel) -> None:
    """Ctrl-C in the middle of drawing: `closed` as interrupted, every weight back, the next request works."""
    own = [target.weight for target in base.targets().values()]
    guard = open_guard([0.1])

    def interrupt(_done: int, _steps: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        guard.generate("a cat", seed=5, steps=STEPS, progress=interrupt)
    assert stages(guard) == ["requested", "decided", "closed"]
    assert all(target.weight is weight for target, weight in zip(base.targets().values(), own, strict=True))
    assert guard.generate("a cat", seed=5, steps=STEPS).outcome == "released"


def test_the_ledger_of_all_this_verifies_with_the_public_key_alone(open_guard: Any) -> None:
    """Released, refused and withheld requests in one ledger, no problem found."""
    guard = open_guard([0.9, 0.9, 0.9])
    for prompt in ("a dog", "a nude dog", "a cat"):
        guard.generate(prompt, seed=1, steps=STEPS)
    report = verify_ledger(guard.ledger_folder, guard.verifier_key)
    assert report.ok
    assert dict(report.outcomes) == {"released": 1, "refused": 1, "withheld": 1}


def test_several_images_are_reviewed_one_by_one(open_guard: Any) -> None:
    """n images give n verdicts, seeds that follow one another, and one receipt."""
    result = open_guard([0.0]).generate("a cat", n=2, seed=8, steps=STEPS)
    assert [(image.seed, image.outcome) for image in result.images] == [(8, "released"), (9, "released")]


def test_an_altered_adapter_is_found_before_the_first_request(tmp_path: Path, registry: Registry) -> None:
    """A changed weight file makes the guard refuse to open, and says which file."""
    import shutil

    copy = tmp_path / "spm_models"
    shutil.copytree(registry.folder, copy, ignore=shutil.ignore_patterns("bases", "recipes"))
    path = copy / registry.adapter("sticker/cat").path
    path.write_bytes(path.read_bytes()[:-4] + b"\0\0\0\1")
    with pytest.raises(AdapterIntegrityError, match=r"cat\.safetensors"):
        Guard.open("default", ledger=tmp_path / "ledger", registry=Registry.open(copy))


def test_an_altered_base_is_an_error_that_is_closed_in_the_ledger(tmp_path: Path, registry: Registry) -> None:
    """Missing weight files: a ModelError for the caller, `closed` as error for the auditor."""
    import shutil

    copy = tmp_path / "spm_models"
    shutil.copytree(registry.folder, copy, ignore=shutil.ignore_patterns("unet", "recipes"))
    with Guard.open("default", ledger=tmp_path / "ledger", registry=Registry.open(copy)) as guard:
        with pytest.raises(ModelError, match="digest"):
            guard.generate("a dog")
        assert stages(guard) == ["requested", "decided", "closed"]


def test_an_unknown_policy_is_an_error_that_lists_the_shipped_ones(tmp_path: Path) -> None:
    """No file and no shipped name: what is there is said."""
    with pytest.raises(PolicyError, match="default"):
        Guard.open("strict", ledger=tmp_path)


def test_a_ledger_that_cannot_be_made_stops_everything(tmp_path: Path) -> None:
    """No ledger, no generation."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(LedgerError):
        Guard.open("default", ledger=tmp_path / "file" / "ledger")
