"""The course of one request: its first record, its last one, and the result between them.

Invariants: what was opened is closed on every way out, errors and Ctrl-C included; a result exists only with the
receipt of its last record.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from safegen.errors import SafegenError
from safegen.guard import records
from safegen.guard.deciders import deciders_of_end
from safegen.guard.notes import Notes
from safegen.guard.result import GeneratedImage, Generation, Membrane
from safegen.ledger import Decider, Failure

if TYPE_CHECKING:
    from safegen.guard.attempts import Attempts
    from safegen.guard.request import GenerationRequest
    from safegen.ledger import Ledger, Receipt, Requested, SealedText
    from safegen.ledger.sealing import SealedField
    from safegen.policy import BundleItem, Decision, Policy
    from safegen.spm import BaseEntry, SpmFile


@dataclass
class Course:
    """What is known of a request so far; what `closed` will say if it ends here."""

    ledger: Ledger
    request: GenerationRequest
    request_id: str = field(default_factory=lambda: secrets.token_hex(12))
    attempts: Attempts | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    notes: Notes = field(init=False)

    def __post_init__(self) -> None:
        self.notes = Notes(self.ledger)

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Count the seconds of the body under a name."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started

    @contextmanager
    def opened(self, policy: Policy, base: BaseEntry) -> Iterator[None]:
        """Note the request, and close it if the body fails; then let the failure go on."""
        self.notes.add(partial(self._requested, self.notes.now(), policy, base))
        try:
            yield
        except SafegenError as error:
            if not error.code.startswith("ledger"):
                self._fail(Failure(code=error.code, message=error.message[:2000]))
            raise
        except Exception as error:
            self._fail(Failure(code="internal", message=f"{type(error).__name__}: {error}"[:2000]))
            raise
        except BaseException:
            self._end("interrupted", decided_by=(Decider(kind="system", name="interrupted"),))
            raise

    def decided(self, decision: Decision, bundle: Sequence[tuple[BundleItem, SpmFile]]) -> None:
        """Note the decision; unless it is a refusal, all so far is becoming durable when this returns."""
        drawn = None if decision.prompt == self.request.prompt else self.ledger.commit(decision.prompt)
        self.notes.add(
            records.decided(
                time=self.notes.now(),
                request_id=self.request_id,
                decision=decision,
                bundle=bundle,
                drawn_prompt_commitment=drawn,
            )
        )
        if decision.refusal is None:
            with self.timed("record"):
                self.notes.begin()

    def finish(
        self, decision: Decision, images: tuple[GeneratedImage, ...] = (), notes: tuple[str, ...] = ()
    ) -> Generation:
        """Record the end of the request; the result with its receipt."""
        attempts = self.attempts
        released = any(image.outcome == "released" for image in images)
        outcome = "refused" if decision.refusal else "released" if released else "withheld"
        with self.timed("record"):
            receipt = self._end(outcome, images, decided_by=deciders_of_end(decision, images))
        return Generation(
            request_id=self.request_id,
            outcome=outcome,  # type: ignore[arg-type] # one of the three just above
            decision=decision,
            membranes=tuple(
                Membrane(each.item.concept, each.item.adapter, each.gamma, each.escalated)
                for each in (attempts.openings if attempts else ())
            ),
            images=images,
            attempts=attempts.count if attempts else 0,
            receipt=receipt,
            seconds=self.seconds,
            notes=notes,
        )

    def _requested(self, time: str, policy: Policy, base: BaseEntry) -> Requested:
        request, commit = self.request, self.ledger.commit
        sealed = policy.records.prompts == "sealed"
        return records.requested(
            time=time,
            request_id=self.request_id,
            request=request,
            commit=commit,
            policy=policy,
            base=base,
            sealed_prompt=self._seal("prompt", request.prompt) if sealed else None,
            sealed_negative_prompt=self._seal("negative_prompt", request.negative_prompt) if sealed else None,
        )

    def _seal(self, name: SealedField, text: str) -> SealedText | None:
        return self.ledger.seal(self.request_id, name, text) if text else None

    def _fail(self, failure: Failure) -> None:
        self._end("error", error=failure, decided_by=(Decider(kind="system", name=failure.code),))

    def _end(
        self,
        outcome: str,
        images: tuple[GeneratedImage, ...] = (),
        *,
        error: Failure | None = None,
        decided_by: tuple[Decider, ...],
    ) -> Receipt:
        attempts = self.attempts
        return self.notes.end(
            records.closed(
                time=self.notes.now(),
                request_id=self.request_id,
                outcome=outcome,
                images=images,
                attempts=attempts.count if attempts else 0,
                disagreements=attempts.disagreements if attempts else (),
                error=error,
                decided_by=decided_by,
            )
        )
