"""Turns what happened into the ledger's records. Pure: no clock, no store.

Invariant: no prompt and no picture passes through here, only commitments, digests and numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING

from safegen.guard.deciders import deciders
from safegen.guard.environment import environment, software
from safegen.guard.gate import Opening
from safegen.guard.request import GenerationRequest
from safegen.guard.result import GeneratedImage, Seen
from safegen.ledger import (
    Audience,
    BundleMember,
    Closed,
    Decided,
    Decider,
    Drawn,
    ImageOutcome,
    ModelReference,
    Parameters,
    Permeability,
    PolicyChanged,
    PolicyReference,
    PolicyRejected,
    Refusal,
    Requested,
    Reviewed,
    ReviewOrder,
    Score,
    ShadowMatch,
)

if TYPE_CHECKING:
    from safegen.errors import SafegenError
    from safegen.ledger import Disagreement, Failure, SealedText
    from safegen.policy import BundleItem, Decision, Policy, TraceEntry
    from safegen.spm import BaseEntry, SpmFile

_LONGEST_NAME = 200
_LONGEST_TEXT = 2000


def hexdigest(digest: str) -> str:
    """The hex of a `sha256:<hex>`."""
    return digest.removeprefix("sha256:")


def requested(
    *,
    time: str,
    request_id: str,
    request: GenerationRequest,
    commit: Callable[[str], str],
    policy: Policy,
    base: BaseEntry,
    sealed_prompt: SealedText | None = None,
    sealed_negative_prompt: SealedText | None = None,
) -> Requested:
    """The record that precedes everything; `commit` gives the keyed commitment to a text."""
    asked = request.asked
    return Requested(
        time=time,
        request_id=request_id,
        prompt_commitment=commit(request.prompt),
        negative_prompt_commitment=commit(request.negative_prompt) if request.negative_prompt else None,
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
        sealed_prompt=sealed_prompt,
        sealed_negative_prompt=sealed_negative_prompt,
        audience=Audience(
            tenant=asked.tenant,
            market=asked.market,
            age_gate=asked.age_gate,
            subject_commitment=commit(asked.subject) if asked.subject else None,
        ),
    )


def decided(
    *,
    time: str,
    request_id: str,
    decision: Decision,
    bundle: Sequence[tuple[BundleItem, SpmFile]],
    drawn_prompt_commitment: str | None = None,
) -> Decided:
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
        shadow=tuple(dict.fromkeys(_shadow(each) for each in decision.trace if each.status == "shadow")),
        drawn_prompt_commitment=drawn_prompt_commitment,
        decided_by=deciders(decision),
    )


def _shadow(entry: TraceEntry) -> ShadowMatch:
    return ShadowMatch(rule=entry.match.rule, action=entry.match.action, concept=entry.match.concept)


def drawn(
    *,
    time: str,
    request_id: str,
    attempt: int,
    seeds: Sequence[int],
    openings: Sequence[Opening],
    digests: Sequence[str],
    images: Sequence[int],
) -> Drawn:
    """The record of one attempt's pictures; `images` are their numbers within the request."""
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
                phrase=opening.phrase[:_LONGEST_NAME] or None,
                similarity=opening.similarity if opening.phrase else None,
            )
            for opening in openings
        ),
        image_sha256s=tuple(digests),
        images=tuple(images),
        environment=environment(),
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
    decided_by: Sequence[Decider] = (),
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
                    png_sha256=image.unsigned_png_sha256,
                    pixels_sha256=image.pixels_sha256,
                    outcome=image.outcome,
                    signed_sha256=image.png_sha256 if image.png_sha256 != image.unsigned_png_sha256 else None,
                )
                for image in images
            ),
            "attempts": attempts,
            "disagreements": tuple(disagreements),
            "error": error,
            "decided_by": tuple(decided_by),
        }
    )


def policy_changed(*, time: str, old: Policy, new: Policy, by: Decider) -> PolicyChanged:
    """The record of another policy in force."""
    return PolicyChanged(
        time=time,
        policy_id=new.id,
        old_digest=old.digest,
        new_digest=new.digest,
        policy_version=str(new.version),
        decided_by=(by,),
    )


def policy_rejected(*, time: str, in_force: Policy, file: str, error: SafegenError) -> PolicyRejected:
    """The record of a changed policy that could not be used; says where in the file, and no path."""
    place = PurePath(error.where).name
    problem = f"{place}: {error.message}" if place else error.message
    return PolicyRejected(
        time=time, in_force=in_force.digest, file=file, code=error.code, problem=problem[:_LONGEST_TEXT]
    )
