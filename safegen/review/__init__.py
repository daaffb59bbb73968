"""Reviewers look at finished images; the verdict walks the rules' ladders over what they saw.

Invariant: fails closed; a reviewer that breaks, is late, or says nothing is a failure, and never a clean bill.
"""

from safegen.review.plugins import load_reviewer, reviewer_names
from safegen.review.reviewer import Question, Reviewer, ReviewFailure, Scores, run_review
from safegen.review.verdict import Finding, LadderState, Verdict, judge_image

__all__ = [
    "Finding",
    "LadderState",
    "Question",
    "ReviewFailure",
    "Reviewer",
    "Scores",
    "Verdict",
    "judge_image",
    "load_reviewer",
    "reviewer_names",
    "run_review",
]
