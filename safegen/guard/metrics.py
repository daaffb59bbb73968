"""What a running guard counts for Prometheus: policies put into force and rejected, decisions, outcomes.

The counters stand in the client library's own registry, so that an app that exports metrics already exports these, too;
`prometheus_client.start_http_server(port)` serves them where none does.

Invariants: labels come from policies and from fixed lists, never from prompts, users or requests; counting cannot fail.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import Counter, Gauge

if TYPE_CHECKING:
    from safegen.policy import Policy

_RELOADS = Counter(
    "safegen_policy_reloads", "Changed policy files, by the policy in force and by result.", ("policy", "result")
)
_IN_FORCE = Gauge("safegen_policy_version", "Version of the policy in force.", ("policy",))
_BROKEN = Gauge(
    "safegen_policy_file_broken", "1 while the policy file cannot be used and the old one holds.", ("policy",)
)
_DECISIONS = Counter("safegen_decisions", "Decisions, by policy and action.", ("policy", "action"))
_OUTCOMES = Counter("safegen_generations", "Finished requests, by policy and outcome.", ("policy", "outcome"))


def policy_in_force(policy: Policy) -> None:
    """A guard was opened with a policy."""
    _IN_FORCE.labels(policy.id).set(policy.version)
    _BROKEN.labels(policy.id).set(0)


def policy_reloaded(policy: Policy) -> None:
    """A changed policy is in force."""
    _RELOADS.labels(policy.id, "accepted").inc()
    policy_in_force(policy)


def policy_rejected(in_force: Policy) -> None:
    """A changed policy file cannot be used; the policy in force stays."""
    _RELOADS.labels(in_force.id, "rejected").inc()
    _BROKEN.labels(in_force.id).set(1)


def decided(policy: Policy, action: str) -> None:
    """A decision was made."""
    _DECISIONS.labels(policy.id, action).inc()


def finished(policy: Policy, outcome: str) -> None:
    """A request came to its end."""
    _OUTCOMES.labels(policy.id, outcome).inc()
