"""Turns what happened into the ledger's records. Pure: no clock, no store.

Invariant: no prompt and no picture passes through here, only commitments, digests and numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from safegen.guard.gate import Opening
from safegen.guard.request import GenerationRequest
from safegen.guard.result import GeneratedImage, Seen
from safegen.ledger import (
    BundleMember,
    Closed,
    Decided,
    Disagreement,
    Drawn,
    ImageOutcome,
    ModelReference,
    Parameters,
    Permeability,
    PolicyReference,
    Refusal,
    Requested,
    Reviewed,
    ReviewOrder,
    Score,
)

if TYPE_CHECKING:
    from safegen.ledger import Failure
    from safegen.policy import BundleItem, Decision, Policy
    from safegen.spm import BaseEntry, SpmFile

_SOFTWARE = ("safegen", "torch", "diffusers", "transformers", "open_clip_torch", "nudenet")


@cache
def software() -> dict[str, str]:
    """Versions of what draws and reviews."""
    found = {}
    for name in _SOFTWARE:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found


def hexdigest(digest: str) -> str:
    """The hex of a `sha256:<hex>`."""
    return digest.removeprefix("sha256:")


def requested(
    *,
    time: str,
    request_id: str,
    request: GenerationRequest,
    commitments: tuple[str, str | None],
    policy: Policy,
    base: BaseEntry,
) -> Requested:
    """The record that precedes everything."""
    prompt, negative = commitments
    return Requested(
        time=time,
        request_id=request_id,
        prompt_commitment=prompt,
        negative_prompt_commitment=negative,
        parameters=Parameters(
            n=request.n,
            width=request.width,
            height=request.height,
            steps=request.steps,
            guidance=request.guidance,
            seed=request.asked_seed,
        ),
        policy=PolicyReference(id=policy.id, version=str(policy.version), digest=policy.digest),
        base_model=ModelReference(id=base.id, digest=base.digest),
        software=software(),
    )


def decided(*, time: str, request_id: str, decision: Decision, bundle: Sequence[tuple[BundleItem, SpmFile]]) -> Decided:
    """The record that precedes the first pixel."""
    refusal = decision.refusal
    return Decided(
        time=time,
        request_id=request_id,
        action=decision.action,
        rules=tuple(dict.fromkeys(match.rule for match in decision.matches)),
        bundle=tuple(
            BundleMember(
                concept=item.concept,
                adapter=item.adapter,
                adapter_sha256=hexdigest(spm.digest),
                rule=item.rule,
                strength=item.strength,
                transport=item.transport,
            )
            for item, spm in bundle
        ),
        reviews=tuple(
            ReviewOrder(
                rule=order.rule,
                reviewer=order.reviewer,
                threshold=order.threshold,
                on_failure=order.on_failure,
                ladder=order.ladder,
            )
            for order in decision.reviews
        ),
        refusal=Refusal(rule=refusal.rule, reason=refusal.reason, category=refusal.category) if refusal else None,
    )


def drawn(
    *,
    time: str,
    request_id: str,
    attempt: int,
    seeds: Sequence[int],
    openings: Sequence[Opening],
    digests: Sequence[str],
) -> Drawn:
    """The record of one attempt's pictures."""
    return Drawn(
        time=time,
        request_id=request_id,
        attempt=attempt,
        seeds=tuple(seeds),
        permeabilities=tuple(
            Permeability(
                adapter=opening.item.adapter,
                concept=opening.item.concept,
                gamma=opening.gamma,
                escalated=opening.escalated,
            )
            for opening in openings
        ),
        image_sha256s=tuple(digests),
    )


def reviewed(
    *,
    time: str,
    request_id: str,
    attempt: int,
    image: int,
    seen: Sequence[Seen],
    digests: Mapping[str, str],
    verdict: str,
) -> Reviewed:
    """The record of what the reviewers said of one image."""
    return Reviewed.model_validate(
        {
            "time": time,
            "request_id": request_id,
            "attempt": attempt,
            "image": image,
            "scores": tuple(_score(each, digests.get(each.reviewer)) for each in seen),
            "verdict": verdict,
        }
    )


def _score(seen: Seen, digest: str | None) -> Score:
    return Score(
        reviewer=seen.reviewer,
        reviewer_digest=digest,
        rule=seen.rule,
        label=seen.label or "-",
        score=seen.score,
        threshold=seen.threshold,
        found=seen.found,
        failure=seen.failure,
    )


def closed(
    *,
    time: str,
    request_id: str,
    outcome: str,
    images: Sequence[GeneratedImage] = (),
    attempts: int = 0,
    disagreements: Sequence[Disagreement] = (),
    error: Failure | None = None,
) -> Closed:
    """The record after which nothing of the request follows."""
    return Closed.model_validate(
        {
            "time": time,
            "request_id": request_id,
            "outcome": outcome,
            "images": tuple(
                ImageOutcome(
                    index=image.index,
                    png_sha256=image.png_sha256,
                    pixels_sha256=image.pixels_sha256,
                    outcome=image.outcome,
                )
                for image in images
            ),
            "attempts": attempts,
            "disagreements": tuple(disagreements),
            "error": error,
        }
    )


def leaks(openings: Sequence[Opening], seen: Sequence[Seen]) -> list[Disagreement]:
    """Where an adapter was open for a rule and a reviewer of that rule found its concept all the same."""
    return [
        Disagreement(kind="leak", adapter=opening.item.adapter, reviewer=each.reviewer, score=each.score)
        for opening in openings
        for each in seen
        if opening.gamma > 0 and each.rule == opening.item.rule and each.found and each.score is not None
    ]
