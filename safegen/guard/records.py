"""Turns what happened into the ledger's records. Pure: no clock, no store.

Invariant: no prompt and no picture passes through here, only commitments, digests and numbers.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import PurePath
from typing import TYPE_CHECKING

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


@cache
def environment() -> dict[str, str]:
    """Where pictures are drawn, as far as their bits may depend on it."""
    import torch

    return {
        "machine": platform.machine() or "unknown",
        "processor": torch.backends.cpu.get_cpu_capability(),
        "system": platform.system() or "unknown",
        "threads": str(torch.get_num_threads()),
    }


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
        decided_by=_deciders(decision),
    )


def _shadow(entry: TraceEntry) -> ShadowMatch:
    return ShadowMatch(rule=entry.match.rule, action=entry.match.action, concept=entry.match.concept)


def _deciders(decision: Decision) -> tuple[Decider, ...]:
    """The rule that refuses, else those that gave the action, else the policy, which no rule of touched the prompt."""
    if decision.refusal is not None:
        return (Decider(kind="rule", name=decision.refusal.rule),)
    rules = dict.fromkeys(match.rule for match in decision.matches if match.action == decision.action)
    return tuple(Decider(kind="rule", name=rule) for rule in rules) or (_policy(decision),)


def _policy(decision: Decision) -> Decider:
    return Decider(kind="policy", name=decision.policy.id)


def deciders_of_end(decision: Decision, images: Sequence[GeneratedImage]) -> tuple[Decider, ...]:
    """Who had the last word: the rule that refused, else the reviewers, else who decided that none need look.

    Where an image was withheld, it is the reviewers that found something in it or failed; else all that looked.
    """
    withheld = [each for image in images if image.outcome == "withheld" for each in image.seen]
    against = [each for each in withheld if each.found or each.failure is not None]
    looked = against or [each for image in images for each in image.seen]
    names = dict.fromkeys(each.reviewer for each in looked)
    return tuple(Decider(kind="reviewer", name=name) for name in names) or _deciders(decision)


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
