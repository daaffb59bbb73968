"""Policies: YAML in, decisions out.

Invariants: pure (no disk but the file that it is handed, no clock, no network, no torch); knows adapters and reviewers
by name only, and never imports what runs them.
"""

from __future__ import annotations

from safegen.policy.decide import decide
from safegen.policy.decision import (
    Audience,
    BundleItem,
    Decision,
    PolicyRef,
    PromptRequest,
    Refusal,
    ReviewOrder,
    RuleMatch,
    TraceEntry,
)
from safegen.policy.diagnostics import DiagnosedSemanticError, DiagnosedSyntaxError, Diagnostic
from safegen.policy.load import load_policy, load_policy_file
from safegen.policy.model import Policy
from safegen.policy.normalise import Word, normalise
from safegen.policy.parts import Concept, Rollout, RuleException, When, Words
from safegen.policy.rules import AllowRule, EraseReview, EraseRule, RedactRule, RefuseRule, Review, ReviewRule
from safegen.policy.schema import policy_schema_text

__all__ = [
    "AllowRule",
    "Audience",
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
    "RedactRule",
    "Refusal",
    "RefuseRule",
    "Review",
    "ReviewOrder",
    "ReviewRule",
    "Rollout",
    "RuleException",
    "RuleMatch",
    "TraceEntry",
    "When",
    "Word",
    "Words",
    "decide",
    "load_policy",
    "load_policy_file",
    "normalise",
    "policy_schema_text",
]
