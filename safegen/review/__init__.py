"""Reviewers look at finished images; the verdict walks the rules' ladders over what they saw.

Invariants: fails closed, so a reviewer that breaks, is late, or says nothing is a failure and never a clean bill;
importing this package loads no classifier.
"""

from safegen.review.plugins import load_reviewer, reviewer_class, reviewer_names
from safegen.review.reviewer import Question, Reviewer, ReviewFailure, Scores
from safegen.review.run import run_review
from safegen.review.verdict import Finding, LadderState, Step, Verdict, judge_image

__all__ = [
    "Finding",
    "LadderState",
    "Question",
    "ReviewFailure",
    "Reviewer",
    "Scores",
    "Step",
    "Verdict",
    "judge_image",
    "load_reviewer",
    "reviewer_class",
    "reviewer_names",
    "run_review",
]
