"""Policies: YAML in, decisions out.

Invariants: pure (no disk but the file that it is handed, no clock, no network, no torch); knows adapters and reviewers
by name only, and never imports what runs them.
"""

from __future__ import annotations

from safegen.policy.decide import decide
from safegen.policy.decision import (
    BundleItem,
    Decision,
    PolicyRef,
    PromptRequest,
    Refusal,
    ReviewOrder,
    RuleMatch,
)
from safegen.policy.diagnostics import DiagnosedSemanticError, DiagnosedSyntaxError, Diagnostic
from safegen.policy.load import load_policy, load_policy_file
from safegen.policy.model import (
    AllowRule,
    Concept,
    EraseReview,
    EraseRule,
    Policy,
    RefuseRule,
    Review,
    ReviewRule,
    Words,
)
from safegen.policy.normalise import Word, normalise
from safegen.policy.schema import policy_schema_text

__all__ = [
    "AllowRule",
    "BundleItem",
    "Concept",
    "Decision",
    "DiagnosedSemanticError",
    "DiagnosedSyntaxError",
    "Diagnostic",
    "EraseReview",
    "EraseRule",
    "Policy",
    "PolicyRef",
    "PromptRequest",
    "Refusal",
    "RefuseRule",
    "Review",
    "ReviewOrder",
    "ReviewRule",
    "RuleMatch",
    "Word",
    "Words",
    "decide",
    "load_policy",
    "load_policy_file",
    "normalise",
    "policy_schema_text",
]
