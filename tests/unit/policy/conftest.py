"""A small policy that the tests of this folder vary."""

from __future__ import annotations

from safegen.policy import Decision, Policy, PromptRequest, decide

CONCEPTS = (
    {"name": "cat", "category": "object", "phrases": ["cat", "kitten"], "adapter": "sticker/cat"},
    {"name": "santa claus", "category": "character", "phrases": ["santa claus", "santa"], "adapter": "sticker/santa"},
    {"name": "van gogh", "category": "style", "phrases": ["van gogh"], "adapter": "sticker/van-gogh"},
    {"name": "pistol", "category": "weapon", "phrases": ["pistol", "gun"], "adapter": "sticker/pistol"},
    {"name": "nudity", "category": "sexual", "phrases": ["nude"]},
)


def policy_of(*rules: dict[str, object]) -> Policy:
    return Policy.model_validate(
        {
            "apiVersion": "safegen/v1",
            "kind": "Policy",
            "id": "test",
            "version": 1,
            "base": "sticker",
            "concepts": CONCEPTS,
            "rules": rules,
        }
    )


def erase(rule: str = "erase", **fields: object) -> dict[str, object]:
    return {
        "id": rule,
        "match": {"concepts": ["cat", "santa claus", "van gogh", "pistol"]},
        "action": "erase",
        **fields,
    }


def refuse(*phrases: str, rule: str = "refuse") -> dict[str, object]:
    return {"id": rule, "match": {"phrases": list(phrases)}, "action": "refuse", "reason": "No."}


def allow(*phrases: str) -> dict[str, object]:
    return {"id": "allow", "match": {"phrases": list(phrases)}, "action": "allow"}


def decided(prompt: str, *rules: dict[str, object], negative_prompt: str = "") -> Decision:
    return decide(policy_of(*rules), PromptRequest(prompt=prompt, negative_prompt=negative_prompt))
