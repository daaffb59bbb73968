"""Verifying the whole ledger beside the console: a process of its own, so that pages stay quick.

Invariants: one verification at a time; the process gets the folder and the public key and nothing else; however it
ends, what is shown says so: a report, or the reason why there is none.
"""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Literal

from safegen.errors import SafegenError
from safegen.ledger import LedgerReader, VerificationReport, VerifierKey, verify_ledger

Phase = Literal["idle", "running", "done", "failed"]


@dataclass(frozen=True)
class VerificationState:
    """Where the verification stands; times are of this machine's clock."""

    phase: Phase = "idle"
    started: str = ""
    ended: str = ""
    checked: int = 0
    size: int = 0
    report: VerificationReport | None = None
    problem: str = ""


class VerificationJob:
    """Starts verifications and tells how they go."""

    def __init__(self, folder: Path, key: VerifierKey, known_checkpoints: Iterable[str] = ()) -> None:
        self._arguments = folder, str(key), tuple(known_checkpoints)
        self._lock = threading.Lock()
        self._state = VerificationState()
        self._process: multiprocessing.process.BaseProcess | None = None

    @property
    def state(self) -> VerificationState:
        """How it stands now."""
        return self._state

    def start(self) -> None:
        """Begin, unless one is running already."""
        with self._lock:
            if self._state.phase == "running":
                return
            self._state = VerificationState(phase="running", started=_now())
            context = multiprocessing.get_context("spawn")
            receiving, sending = context.Pipe(duplex=False)
            self._process = context.Process(target=_verify, args=(*self._arguments, sending), daemon=True)
            self._process.start()
            sending.close()
            threading.Thread(target=self._listen, args=(receiving,), name="console-verify", daemon=True).start()

    def stop(self) -> None:
        """End a verification that is running."""
        process = self._process
        if process is not None and process.is_alive():
            process.terminate()
            process.join(timeout=10)

    def _listen(self, receiving: Connection) -> None:
        end = VerificationState(phase="failed", problem="the verifying process ended without a report")
        with receiving, suppress(EOFError, OSError):
            while True:
                message = receiving.recv()
                if isinstance(message, tuple):
                    self._state = replace(self._state, checked=message[0], size=max(message))
                elif isinstance(message, VerificationReport):
                    end = VerificationState(phase="done", report=message, checked=message.size, size=message.size)
                else:
                    end = VerificationState(phase="failed", problem=str(message))
        self._state = replace(end, started=self._state.started, ended=_now())


def _verify(folder: Path, key: str, known_checkpoints: tuple[str, ...], sending: Connection) -> None:
    """Runs in the process: sends (checked, size) now and then, and at last a report, or a text saying what broke."""
    try:
        with LedgerReader.open_read_only(folder) as reader:
            size = reader.size
        report = verify_ledger(
            folder, key, known_checkpoints=known_checkpoints, progress=lambda checked: sending.send((checked, size))
        )
        sending.send(report)
    except SafegenError as error:
        sending.send(str(error))


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")
