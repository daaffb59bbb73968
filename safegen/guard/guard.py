"""The guard: the path of one `generate()`, from the first record to the receipt.

Invariants: nothing is drawn before `requested` and `decided` are durable; no image is handed out before `closed` is; a
request that was recorded is closed on every way out, errors and Ctrl-C included; the base model is bare again after
every attempt. A refusal is a value.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import structlog

from safegen.errors import AdapterError, PolicyError, SafegenError
from safegen.guard import metrics, records
from safegen.guard.assembly import Assembly
from safegen.guard.attempts import Attempts, SignImage
from safegen.guard.course import Course
from safegen.guard.defaults import default_events, default_ledger, find_policy
from safegen.guard.policy_file import PolicyFile
from safegen.guard.request import check_request
from safegen.ledger import Ledger
from safegen.policy import Audience, Policy, decide
from safegen.spm import Registry

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    from safegen.guard.result import Generation
    from safegen.review import Reviewer

Progress = Callable[[int, int], None]
_log = structlog.get_logger("safegen.guard")


class Guard:
    """One policy in force over one base model, writing to one ledger. Threads may share it; they draw in turn."""

    def __init__(
        self,
        policy: Policy,
        ledger: Ledger,
        registry: Registry,
        *,
        reviewers: Mapping[str, Reviewer] | None = None,
        sign_image: SignImage | None = None,
    ) -> None:
        self.policy = policy
        self.sign_image = sign_image
        self.assembly = Assembly(registry, policy.base, reviewers)
        self._ledger = ledger
        self._file: PolicyFile | None = None
        self._lock = threading.Lock()
        metrics.policy_in_force(policy)

    @classmethod
    def open(
        cls,
        policy: str | Path | Policy = "default",
        *,
        ledger: Path | None = None,
        registry: Registry | None = None,
        reviewers: Mapping[str, Reviewer] | None = None,
        policy_key: Ed25519PublicKey | None = None,
        sign_image: SignImage | None = None,
    ) -> Guard:
        """Open a guard, and close in the ledger what a crashed one left open.

        Args:
            policy: a policy, the path of one, or the name of a shipped one. A file is read again before a request if
                it changed; if it is broken then, the policy in force stays.
            ledger: the ledger's folder, made on first use; by default one of the user's own.
            registry: where models and adapters are stated; the shipped one by default.
            reviewers: further reviewers by name, beside those that are installed.
            policy_key: what must have signed the policy file; unsigned files are taken if None.
            sign_image: puts content credentials into the PNG file of an image before it is handed out; the ledger
                gets its digest before and after.

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
        guard = cls(
            loaded,
            Ledger.open(ledger or default_ledger(), events=default_events()),
            registry or Registry.open(),
            reviewers=reviewers,
            sign_image=sign_image,
        )
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
        course = Course(self._ledger, request)
        with self._lock:
            self._renew_policy()
            with course.opened(self.policy, self.assembly.entry):
                generation = self._follow(course, progress)
        metrics.finished(self.policy, generation.outcome)
        return generation

    def _renew_policy(self) -> None:
        """Put a changed policy file into force, on record; keep the old policy if the new one cannot be used."""
        if self._file is None or not self._file.changed():
            return
        try:
            new = self._file.read()
            self.assembly.check(new)
        except (PolicyError, AdapterError) as error:
            record = records.policy_rejected(
                time=self._ledger.now(), in_force=self.policy, file=self._file.path.name, error=error
            )
            self._ledger.append(record)
            metrics.policy_rejected(self.policy)
            _log.error("policy_rejected", in_force=self.policy.digest, code=error.code, problem=str(error))
            return
        old = self.policy
        if new.digest != old.digest:
            changed = records.policy_changed(time=self._ledger.now(), old=old, new=new, by=self._file.decider)
            self._ledger.append(changed)
            self.policy = new
            metrics.policy_reloaded(new)
            _log.info("policy_changed", policy=new.id, version=new.version, old=old.digest, new=new.digest)

    def _follow(self, course: Course, progress: Progress | None) -> Generation:
        request = course.request
        with course.timed("decide"):
            decision = decide(self.policy, request.asked, now=date.fromisoformat(course.notes.now()[:10]))
            bundle = self.assembly.bundle(decision.bundle)
        course.decided(decision, bundle)
        metrics.decided(self.policy, decision.action)
        if decision.refusal:
            return course.finish(decision)
        with course.timed("load"):
            base = self.assembly.base
            reviewers = {order.reviewer: self.assembly.reviewer(order.reviewer) for order in decision.reviews}
            openings, truncated = self.assembly.gatekeeper.open(decision.prompt, bundle)
        course.attempts = Attempts(
            course.request_id, request, decision, base, reviewers, openings, course.notes, self.sign_image
        )
        images = course.attempts.run(course.timed, progress)
        notes = ("the prompt is longer than the base model reads; its end was not drawn",) if truncated else ()
        return course.finish(decision, images, notes)

    def close(self) -> None:
        """Close the ledger."""
        self._ledger.close()

    def __enter__(self) -> Guard:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
