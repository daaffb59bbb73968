"""Drawing a request again from its records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

from safegen.cli import app
from safegen.guard import Guard
from safegen.guard.replay import Story, replay, structural_distance
from safegen.ledger import LedgerReader
from safegen.models import BaseModel
from safegen.spm import Registry

POLICY = """
apiVersion: safegen/v1
kind: Policy
id: replayed
version: 1
description: erases cats, redacts a style, refuses dogs
base: sticker
records: {prompts: sealed}
concepts:
  - {name: cat, category: object, phrases: [cat], adapter: sticker/cat}
rules:
  - {id: no-dogs, match: {phrases: [dog]}, action: refuse, reason: Not here.}
  - {id: no-fluent, match: {phrases: [in the style of fluent]}, action: redact}
  - {id: no-cats, match: {concepts: [cat]}, action: erase}
"""
CASES = {
    "cat": {"prompt": "a cat", "n": 2},
    "negative": {"prompt": "a robot", "negative_prompt": "red"},
    "redacted": {"prompt": "a robot in the style of fluent"},
    "refused": {"prompt": "a dog"},
}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory, base: BaseModel) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("replay")
    policy = folder / "replayed.yaml"
    policy.write_text(POLICY)
    ids = {}
    with Guard.open(policy, ledger=folder / "ledger") as guard:
        guard.assembly.__dict__["base"] = base
        for name, asked in CASES.items():
            result = guard.generate(**asked, seed=7, steps=2)
            result.save(folder / "images")
            ids[name] = result.request_id
    return {"folder": folder, "ledger": folder / "ledger", "policy": policy, **ids}


def run(*arguments: object) -> tuple[int, Any]:
    result = CliRunner().invoke(app, ["audit", "replay", *map(str, arguments)])
    return result.exit_code, result


def test_the_same_bits_come_again_from_sealed_prompts(drawn: dict[str, Any]) -> None:
    """Erased images of a batch, drawn again from the records alone; the distance to what was handed out is 0."""
    code, result = run(drawn["ledger"], drawn["cat"], "--images", drawn["folder"] / "images", "--json")
    found = json.loads(result.stdout)
    assert (code, found["same"], found["differences"]) == (0, True, [])
    assert [(one["image"], one["same"], one["distance"]) for one in found["images"]] == [(0, True, 0.0), (1, True, 0.0)]


def test_bare_draws_without_the_adapters(drawn: dict[str, Any], tmp_path: Path) -> None:
    """The same seeds without membranes give other bits, and both are written for people to look at."""
    code, result = run(drawn["ledger"], drawn["cat"], "--bare", "--out", tmp_path, "--json")
    found = json.loads(result.stdout)
    assert (code, [one["same"] for one in found["bare"]]) == (0, [False, False])
    assert len(list(tmp_path.glob("*-bare-0.png"))) == 2


def test_negative_prompts_are_replayed_and_checked(drawn: dict[str, Any]) -> None:
    """Sealed negative prompts are read; another one than was used is refused."""
    assert run(drawn["ledger"], drawn["negative"])[0] == 0
    code, result = run(drawn["ledger"], drawn["negative"], "--negative-prompt", "blue")
    assert (code, "another negative prompt" in result.stderr) == (1, True)


def test_only_the_prompt_of_the_record_is_drawn(drawn: dict[str, Any]) -> None:
    """A given prompt that the ledger does not commit to is refused."""
    code, result = run(drawn["ledger"], drawn["cat"], "--prompt", "a kitten")
    assert (code, "commits to another prompt" in result.stderr) == (1, True)


def test_redacted_prompts_need_the_policy(drawn: dict[str, Any], tmp_path: Path) -> None:
    """The policy of the request gives the prompt as drawn; without it, or with another one, the command says so."""
    code, result = run(drawn["ledger"], drawn["redacted"])
    assert (code, "took words out" in result.stderr) == (1, True)
    assert run(drawn["ledger"], drawn["redacted"], "--policy", drawn["policy"])[0] == 0
    other = tmp_path / "other.yaml"
    other.write_text(POLICY.replace("version: 1", "version: 2"))
    code, result = run(drawn["ledger"], drawn["redacted"], "--policy", other)
    assert (code, "digest" in result.stderr) == (1, True)


def test_what_was_never_drawn_cannot_be_replayed(drawn: dict[str, Any]) -> None:
    """A refusal is named as the reason, and an unknown request as unknown."""
    assert "refused by the rule no-dogs" in run(drawn["ledger"], drawn["refused"])[1].stderr
    assert "does not have the first records" in run(drawn["ledger"], "nosuch")[1].stderr


def test_another_model_or_adapter_is_named_and_not_drawn_with(drawn: dict[str, Any], registry: Registry) -> None:
    """The digests that differ are said, recorded and here."""
    with LedgerReader.open_read_only(drawn["ledger"]) as reader:
        story = Story.of(drawn["cat"], [entry.record for entry in reader.find(drawn["cat"])])
    model = story.requested.base_model.model_copy(update={"digest": "sha256:" + "0" * 64})
    story.requested = story.requested.model_copy(update={"base_model": model})
    member = story.decided.bundle[0].model_copy(update={"adapter_sha256": "1" * 64})
    story.decided = story.decided.model_copy(update={"bundle": (member,)})
    found = replay(story, registry, "a cat")
    assert (found.same, found.images) == (False, ())
    assert [(one.what, one.recorded[-4:], one.blocks) for one in found.differences] == [
        ("base model sticker", "0000", True),
        ("adapter sticker/cat", "1111", True),
    ]


def test_distance_grows_with_the_difference() -> None:
    """Equal pictures are at 0, a speck is near, noise is far."""
    plain = Image.effect_noise((32, 32), 60).convert("RGB")
    speck = plain.copy()
    speck.putpixel((3, 3), (255, 0, 0))
    assert structural_distance(plain, plain) == pytest.approx(0, abs=1e-9)
    assert 0 < structural_distance(plain, speck) < structural_distance(plain, Image.effect_noise((32, 32), 60))
