"""The course of one request: its first record, its last one, and the result between them.

Invariants: what was opened is closed on every way out, errors and Ctrl-C included; a result exists only with the
receipt of its last record.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from safegen.errors import SafegenError
from safegen.guard import records
from safegen.guard.result import GeneratedImage, Generation, Membrane
from safegen.ledger import Failure

if TYPE_CHECKING:
    from safegen.guard.attempts import Attempts
    from safegen.guard.request import GenerationRequest
    from safegen.ledger import Ledger, Receipt
    from safegen.policy import Decision, Policy
    from safegen.spm import BaseEntry


@dataclass
class Course:
    """What is known of a request so far; what `closed` will say if it ends here."""

    ledger: Ledger
    request: GenerationRequest
    request_id: str = field(default_factory=lambda: secrets.token_hex(12))
    attempts: Attempts | None = None
    seconds: dict[str, float] = field(default_factory=dict)

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
        """Record the request, and close it if the body fails; then let the failure go on."""
        self._append_requested(policy, base)
        try:
            yield
        except SafegenError as error:
            if not error.code.startswith("ledger"):
                self._append_closed("error", error=Failure(code=error.code, message=error.message[:2000]))
            raise
        except Exception as error:
            failure = Failure(code="internal", message=f"{type(error).__name__}: {error}"[:2000])
            self._append_closed("error", error=failure)
            raise
        except BaseException:
            self._append_closed("interrupted")
            raise

    def finish(
        self, decision: Decision, images: tuple[GeneratedImage, ...] = (), notes: tuple[str, ...] = ()
    ) -> Generation:
        """Record the end of the request; the result with its receipt."""
        attempts = self.attempts
        released = any(image.outcome == "released" for image in images)
        outcome = "refused" if decision.refusal else "released" if released else "withheld"
        with self.timed("record"):
            receipt = self._append_closed(outcome, images)
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

    def _append_requested(self, policy: Policy, base: BaseEntry) -> None:
        request, ledger = self.request, self.ledger
        negative = ledger.commit(request.negative_prompt) if request.negative_prompt else None
        ledger.append(
            records.requested(
                time=ledger.now(),
                request_id=self.request_id,
                request=request,
                commitments=(ledger.commit(request.prompt), negative),
                policy=policy,
                base=base,
            )
        )

    def _append_closed(
        self, outcome: str, images: tuple[GeneratedImage, ...] = (), error: Failure | None = None
    ) -> Receipt:
        attempts = self.attempts
        entry = self.ledger.append(
            records.closed(
                time=self.ledger.now(),
                request_id=self.request_id,
                outcome=outcome,
                images=images,
                attempts=attempts.count if attempts else 0,
                disagreements=attempts.disagreements if attempts else (),
                error=error,
            )
        )
        return self.ledger.receipt(entry.index)
