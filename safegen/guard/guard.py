"""The guard: the path of one `generate()`, from the first record to the receipt.

Invariants: nothing is drawn before `requested` and `decided` are durable; no image is handed out before `closed` is; a
request that was recorded is closed on every way out, errors and Ctrl-C included; the base model is bare again after
every attempt. A refusal is a value.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import structlog

from safegen.errors import AdapterError, PolicyError, SafegenError
from safegen.guard import records
from safegen.guard.assembly import Assembly
from safegen.guard.attempts import Attempts
from safegen.guard.defaults import default_ledger, find_policy
from safegen.guard.policy_file import PolicyFile
from safegen.guard.request import GenerationRequest, check_request
from safegen.guard.result import GeneratedImage, Generation, Membrane
from safegen.ledger import Failure, Ledger, PolicyChanged
from safegen.policy import Audience, Policy, decide
from safegen.spm import Registry

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    from safegen.ledger import Receipt
    from safegen.policy import Decision
    from safegen.review import Reviewer

Progress = Callable[[int, int], None]
_log = structlog.get_logger("safegen.guard")


@dataclass
class _Course:
    """What is known of a request so far; what `closed` will say if it ends here."""

    request_id: str
    request: GenerationRequest
    attempts: Attempts | None = None
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started


class Guard:
    """One policy in force over one base model, writing to one ledger. Threads may share it; they draw in turn."""

    def __init__(
        self, policy: Policy, ledger: Ledger, registry: Registry, *, reviewers: Mapping[str, Reviewer] | None = None
    ) -> None:
        self.policy = policy
        self.assembly = Assembly(registry, policy.base, reviewers)
        self._ledger = ledger
        self._file: PolicyFile | None = None
        self._lock = threading.Lock()

    @classmethod
    def open(
        cls,
        policy: str | Path | Policy = "default",
        *,
        ledger: Path | None = None,
        registry: Registry | None = None,
        reviewers: Mapping[str, Reviewer] | None = None,
        policy_key: Ed25519PublicKey | None = None,
    ) -> Guard:
        """Open a guard, and close in the ledger what a crashed one left open.

        Args:
            policy: a policy, the path of one, or the name of a shipped one. A file is read again before a request if
                it changed; if it is broken then, the policy in force stays.
            ledger: the ledger's folder, made on first use; by default one of the user's own.
            registry: where models and adapters are stated; the shipped one by default.
            reviewers: further reviewers by name, beside those that are installed.
            policy_key: what must have signed the policy file; unsigned files are taken if None.

        Raises:
            PolicyError: the policy is missing or wrong, or not signed as `policy_key` asks.
            AdapterError: an adapter that the policy names is missing, altered, or of another family.
            ModelError: the policy's base model is unknown.
            LedgerError: the ledger cannot be opened or written.
        """
        if isinstance(policy, Policy):
            if policy_key is not None:
                raise PolicyError("only a policy file can be signed", hint="give its path instead of a loaded policy")
            file, loaded = None, policy
        else:
            file = PolicyFile(find_policy(policy), key=policy_key)
            loaded = file.read()
        guard = cls(loaded, Ledger.open(ledger or default_ledger()), registry or Registry.open(), reviewers=reviewers)
        guard._file = file
        try:
            guard.assembly.check(loaded)
            guard._ledger.recover()
        except SafegenError:
            guard.close()
            raise
        return guard

    @property
    def ledger_folder(self) -> Path:
        """Where the ledger lies."""
        return self._ledger.folder

    @property
    def verifier_key(self) -> str:
        """The public key that verifies the ledger and every receipt."""
        return self._ledger.verifier_key

    def generate(
        self,
        prompt: str,
        *,
        negative_prompt: str = "",
        n: int = 1,
        seed: int | None = None,
        width: int | None = None,
        height: int | None = None,
        steps: int | None = None,
        guidance: float | None = None,
        audience: Audience | Mapping[str, str] | None = None,
        progress: Progress | None = None,
    ) -> Generation:
        """Draw `n` images of a prompt under the policy.

        Args:
            prompt: up to 4,000 characters.
            negative_prompt: what to steer away from.
            n: 1..16 images; image i has the seed `seed + i`.
            seed: 0..2^32-1; random if None.
            width: in pixels; the base model's own size if None.
            height: in pixels, likewise.
            steps: denoising steps, 1..150.
            guidance: scale of classifier-free guidance, 1..30.
            audience: for whom: an `Audience`, or its fields in a mapping; what is not stated counts against the
                request where rules depend on it.
            progress: called with (step done, steps in all) while drawing.

        Returns:
            Images with their evidence, or a refusal.

        Raises:
            RequestError: a parameter is out of range; nothing was recorded.
            LedgerWriteError: a record could not be made durable; no image is handed out.
            SafegenError: anything else that broke; the request is closed in the ledger as an error.
        """
        request = check_request(
            prompt,
            canvas=self.assembly.canvas,
            negative_prompt=negative_prompt,
            n=n,
            seed=seed,
            width=width,
            height=height,
            steps=self.assembly.entry.steps if steps is None else steps,
            guidance=self.assembly.entry.guidance if guidance is None else guidance,
            audience=audience,
        )
        course = _Course(request_id=secrets.token_hex(12), request=request)
        with self._lock:
            self._renew_policy()
            self._append_requested(course)
            with self._closed_on_failure(course):
                return self._follow(course, progress)

    def _renew_policy(self) -> None:
        """Put a changed policy file into force, on record; keep the old policy if the new one cannot be used."""
        if self._file is None or not self._file.changed():
            return
        try:
            new = self._file.read()
            self.assembly.check(new)
        except (PolicyError, AdapterError) as error:
            _log.error("policy_rejected", in_force=self.policy.digest, code=error.code, problem=str(error))
            return
        old = self.policy
        if new.digest != old.digest:
            record = PolicyChanged(
                time=self._ledger.now(), policy_id=new.id, old_digest=old.digest, new_digest=new.digest
            )
            self._ledger.append(record)
            self.policy = new
            _log.info("policy_changed", policy=new.id, version=new.version, old=old.digest, new=new.digest)

    def _follow(self, course: _Course, progress: Progress | None) -> Generation:
        request, clock = course.request, self._ledger.now
        with course.timed("decide"):
            decision = decide(self.policy, request.asked, now=date.fromisoformat(clock()[:10]))
            bundle = self.assembly.bundle(decision.bundle)
        self._ledger.append(
            records.decided(time=clock(), request_id=course.request_id, decision=decision, bundle=bundle)
        )
        if decision.refusal:
            return self._close(course, decision, ())
        with course.timed("load"):
            base = self.assembly.base
            reviewers = {order.reviewer: self.assembly.reviewer(order.reviewer) for order in decision.reviews}
            openings, truncated = self.assembly.gatekeeper.open(request.prompt, bundle)
        course.attempts = Attempts(course.request_id, request, decision, base, reviewers, openings, self._ledger)
        images = course.attempts.run(course.timed, progress)
        notes = ("the prompt is longer than the base model reads; its end was not drawn",) if truncated else ()
        return self._close(course, decision, images, notes)

    def _append_requested(self, course: _Course) -> None:
        request = course.request
        negative = self._ledger.commit(request.negative_prompt) if request.negative_prompt else None
        self._ledger.append(
            records.requested(
                time=self._ledger.now(),
                request_id=course.request_id,
                request=request,
                commitments=(self._ledger.commit(request.prompt), negative),
                policy=self.policy,
                base=self.assembly.entry,
            )
        )

    def _close(
        self, course: _Course, decision: Decision, images: tuple[GeneratedImage, ...], notes: tuple[str, ...] = ()
    ) -> Generation:
        attempts = course.attempts
        released = any(image.outcome == "released" for image in images)
        outcome = "refused" if decision.refusal else "released" if released else "withheld"
        with course.timed("record"):
            receipt = self._append_closed(course, outcome, images)
        return Generation(
            request_id=course.request_id,
            outcome=outcome,  # type: ignore[arg-type] # one of the three just above
            decision=decision,
            membranes=tuple(
                Membrane(each.item.concept, each.item.adapter, each.gamma, each.escalated)
                for each in (attempts.openings if attempts else ())
            ),
            images=images,
            attempts=attempts.count if attempts else 0,
            receipt=receipt,
            seconds=course.seconds,
            notes=notes,
        )

    def _append_closed(
        self, course: _Course, outcome: str, images: tuple[GeneratedImage, ...] = (), error: Failure | None = None
    ) -> Receipt:
        attempts = course.attempts
        entry = self._ledger.append(
            records.closed(
                time=self._ledger.now(),
                request_id=course.request_id,
                outcome=outcome,
                images=images,
                attempts=attempts.count if attempts else 0,
                disagreements=attempts.disagreements if attempts else (),
                error=error,
            )
        )
        return self._ledger.receipt(entry.index)

    @contextmanager
    def _closed_on_failure(self, course: _Course) -> Iterator[None]:
        """Close the request in the ledger when the body fails, then let the failure go on."""
        try:
            yield
        except SafegenError as error:
            if not error.code.startswith("ledger"):
                self._append_closed(course, "error", error=Failure(code=error.code, message=error.message[:2000]))
            raise
        except Exception as error:
            failure = Failure(code="internal", message=f"{type(error).__name__}: {error}"[:2000])
            self._append_closed(course, "error", error=failure)
            raise
        except BaseException:
            self._append_closed(course, "interrupted")
            raise

    def close(self) -> None:
        """Close the ledger."""
        self._ledger.close()

    def __enter__(self) -> Guard:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
