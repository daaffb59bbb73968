"""The attempts of one request: draw, review, and again as the ladders say.

Invariants: each attempt is noted as drawn before it is reviewed, and all of it is durable before the next attempt;
an image once released is not drawn again; an image takes at most as many attempts as its rules' ladders have steps
together, and one.
"""

from __future__ import annotations

import hashlib
import textwrap
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from safegen.guard import records
from safegen.guard.disagreements import false_triggers, finds_against_membranes
from safegen.guard.gate import Opening
from safegen.guard.request import GenerationRequest
from safegen.guard.result import GeneratedImage, Seen, encode_png, pixels_digest
from safegen.models import DrawRequest
from safegen.review import Finding, LadderState, Question, ReviewFailure, Scores, judge_image, run_review

if TYPE_CHECKING:
    from PIL.Image import Image

    from safegen.guard.notes import Notes
    from safegen.ledger import Disagreement
    from safegen.models import BaseModel
    from safegen.policy import Decision, ReviewOrder
    from safegen.review import Reviewer, Verdict

Timed = Callable[[str], AbstractContextManager[None]]
SignImage = Callable[[bytes], bytes]
"""Puts content credentials into a PNG file."""
_LONGEST_LABEL = 200
_REVIEW_TIMEOUT_S = 120.0
"""What is not answered by then is a failure; a picture takes milliseconds, a reviewer that hangs must not hang us."""
_RESEED = 1_000_003
"""Step between the seeds of one image's attempts; a prime far above the number of images in a request."""


class Attempts:
    """Draws and reviews the images of one request until each is released or withheld."""

    def __init__(
        self,
        request_id: str,
        request: GenerationRequest,
        decision: Decision,
        base: BaseModel,
        reviewers: Mapping[str, Reviewer],
        openings: Sequence[Opening],
        notes: Notes,
        sign_image: SignImage | None = None,
    ) -> None:
        self.request_id, self.request, self.decision = request_id, request, decision
        self.openings = list(openings)
        self.disagreements: list[Disagreement] = []
        self.count = 0
        self._base, self._reviewers, self._notes, self._sign_image = base, reviewers, notes, sign_image
        self._seeds = list(request.seeds)
        self._states = [LadderState() for _ in self._seeds]
        self._seen: list[Seen] = []

    def run(self, timed: Timed, progress: Callable[[int, int], None] | None) -> tuple[GeneratedImage, ...]:
        """Run to the end; the images in order, each released or withheld."""
        finished: dict[int, GeneratedImage] = {}
        while pending := [index for index in range(self.request.n) if index not in finished]:
            with timed("record"):
                self._notes.settle()
            with timed("draw"):
                pictures = dict(zip(pending, self._draw(pending, progress), strict=True))
            self._record_drawn(pictures)
            with timed("review"):
                seen = self._review(pictures)
            verdicts = {index: self._judge(index, seen[index]) for index in pending}
            for index, verdict in verdicts.items():
                if verdict.action in {"release", "withhold"}:
                    finished[index] = self._finish(index, pictures[index], seen[index], verdict)
            self._prepare(verdicts)
            self.count += 1
        self.disagreements += false_triggers(self.openings, self._seen)
        return tuple(finished[index] for index in range(self.request.n))

    def _draw(self, pending: Sequence[int], progress: Callable[[int, int], None] | None) -> tuple[Image, ...]:
        from safegen.spm import attach

        request = self.request
        wanted = DrawRequest(
            prompts=(self.decision.prompt,) * len(pending),
            negative_prompt=request.negative_prompt,
            seeds=tuple(self._seeds[index] for index in pending),
            width=request.width,
            height=request.height,
            steps=request.steps,
            guidance=request.guidance,
        )
        openings = [opening.attached() for opening in self.openings]
        with attach(self._base.targets(), openings, steps=request.steps):
            return self._base.draw(wanted, progress=progress).images

    def _record_drawn(self, pictures: Mapping[int, Image]) -> None:
        self._notes.add(
            records.drawn(
                time=self._notes.now(),
                request_id=self.request_id,
                attempt=self.count,
                seeds=[self._seeds[index] for index in pictures],
                openings=self.openings,
                digests=[pixels_digest(picture) for picture in pictures.values()],
                images=list(pictures),
            )
        )

    def _review(self, pictures: Mapping[int, Image]) -> dict[int, list[Seen]]:
        """What every ordered review says of every picture; one pass of a reviewer over all pictures."""
        seen: dict[int, list[Seen]] = {index: [] for index in pictures}
        for order in self.decision.reviews:
            question = Question(targets=order.targets, labels=order.labels)
            answers = run_review(
                self._reviewers[order.reviewer], list(pictures.values()), question, timeout_s=_REVIEW_TIMEOUT_S
            )
            for index, answer in zip(pictures, answers, strict=True):
                seen[index].append(_seen(order, answer))
        return seen

    def _judge(self, index: int, seen: Sequence[Seen]) -> Verdict:
        orders = self.decision.reviews
        findings = [_finding(each, order) for each, order in zip(seen, orders, strict=True)]
        expected = frozenset((order.rule, order.reviewer) for order in orders)
        verdict = judge_image(findings, self._states[index], expected)
        digests = {name: reviewer.digest for name, reviewer in self._reviewers.items()}
        self._notes.add(
            records.reviewed(
                time=self._notes.now(),
                request_id=self.request_id,
                attempt=self.count,
                image=index,
                seen=seen,
                digests=digests,
                verdict=verdict.action,
            )
        )
        self.disagreements += finds_against_membranes(self.openings, seen, attempt=self.count, image=index)
        self._seen += seen
        self._states[index] = verdict.state
        return verdict

    def _prepare(self, verdicts: Mapping[int, Verdict]) -> None:
        """For the images to be drawn again, open the membranes of the rules that escalate, and change seeds."""
        again = {index: each for index, each in verdicts.items() if each.action in {"escalate", "reseed"}}
        escalating = {rule for each in again.values() for rule, step in each.steps.items() if step == "escalate"}
        self.openings = [each.escalate() if each.item.rule in escalating else each for each in self.openings]
        for index, verdict in again.items():
            if verdict.action == "reseed":
                self._seeds[index] = (self._seeds[index] + _RESEED) % 2**32

    def _finish(self, index: int, picture: Image, seen: Sequence[Seen], verdict: Verdict) -> GeneratedImage:
        released = verdict.action == "release"
        png = encode_png(picture, request_id=self.request_id) if released else b""
        return GeneratedImage(
            index=index,
            seed=self._seeds[index],
            attempt=self.count,
            outcome="released" if released else "withheld",
            pixels_sha256=pixels_digest(picture),
            image=picture if released else None,
            png=self._sign_image(png) if png and self._sign_image else png,
            unsigned_png_sha256=hashlib.sha256(png).hexdigest() if png else None,
            seen=tuple(seen),
            because=tuple(verdict.because),
        )


def _seen(order: ReviewOrder, answer: Scores | ReviewFailure) -> Seen:
    if isinstance(answer, ReviewFailure):
        asked = textwrap.shorten(", ".join(order.targets or order.labels), _LONGEST_LABEL, placeholder=" ...")
        return Seen(order.rule, order.reviewer, asked, None, order.threshold, answer.message)
    return Seen(order.rule, order.reviewer, answer.label, answer.best, order.threshold, None)


def _finding(seen: Seen, order: ReviewOrder) -> Finding:
    return Finding(
        rule=seen.rule,
        reviewer=seen.reviewer,
        label=seen.label,
        score=seen.score,
        failure=seen.failure,
        threshold=seen.threshold,
        ladder=order.ladder,
        on_failure=order.on_failure,
    )
