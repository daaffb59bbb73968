"""What a policy needs is checked before the first request under it."""

from __future__ import annotations

import pytest

from safegen.errors import AdapterDuplicateError
from safegen.guard.assembly import Assembly
from safegen.policy import load_policy
from safegen.spm import Registry

POLICY = """
apiVersion: safegen/v1
kind: Policy
id: test
version: 1
description: two concepts
base: sticker
concepts:
  - {name: cat, category: object, phrases: [cat], adapter: sticker/cat}
  - {name: kitten, category: object, phrases: [kitten], adapter: sticker/OTHER}
rules:
  - {id: erase, match: {concepts: [cat, kitten]}, action: erase}
"""


def test_two_concepts_of_one_adapter_are_refused(registry: Registry) -> None:
    """A prompt with both words would have it act twice as strongly; the error names both concepts."""
    twice, once = (load_policy(POLICY.replace("OTHER", name), source="p.yaml") for name in ("cat", "pistol"))
    with pytest.raises(AdapterDuplicateError, match="'cat' and 'kitten' name the same adapter 'sticker/cat'"):
        Assembly(registry, "sticker").check(twice)
    Assembly(registry, "sticker").check(once)
