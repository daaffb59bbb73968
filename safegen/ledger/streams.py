"""The ledger's records as a stream of events, for a log collector or a SIEM: standard output, a file, syslog.

A structlog chain binds the context and renders each event as one line of JSON in ASCII, in which nothing can break a
line or steer a terminal. Written canonically (RFC 8785), `record` is the entry whose hash is `leaf_hash`.

Invariants: an event is written after its record is durable and decides nothing; a stream that fails is warned about
once and holds nothing up.
"""

from __future__ import annotations

import json
import logging
import logging.handlers
import sys
from collections.abc import Iterable, MutableMapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from safegen.errors import LedgerError
from safegen.ledger.events import warn

if TYPE_CHECKING:
    from safegen.ledger.record import Record
    from safegen.ledger.transaction import Entry

_SYSLOG_PORT = 514
_LOCAL_SYSLOG = "/dev/log"
_HINT = "write stdout, file:PATH, syslog, or syslog:HOST[:PORT]"


class EventStreams:
    """Where the events of one ledger go.

    Args:
        targets: each of ``stdout``, ``file:PATH``, ``syslog`` (the local one) or ``syslog:HOST[:PORT]`` (UDP).
        context: what every event says besides its record, e.g. which ledger it is of.

    Raises:
        LedgerError: if a target is none of these, or cannot be opened.
    """

    def __init__(self, targets: Iterable[str], **context: str) -> None:
        self._handlers = [_handler(target) for target in targets]
        chain: Any = [structlog.contextvars.merge_contextvars, _render]
        logger: Any = structlog.wrap_logger(
            _Fan(self._handlers), processors=chain, wrapper_class=structlog.BoundLoggerBase
        )
        self._logger = logger.bind(**context)

    def write(self, entry: Entry, record: Record) -> None:
        """Write the event of a record that has become durable."""
        if self._handlers:
            self._logger._proxy_to_logger(  # noqa: SLF001 - structlog's own way for loggers without levels
                "info",
                f"ledger.{record.stage}",
                index=entry.index,
                leaf_hash=entry.leaf_hash.hex(),
                record=record.model_dump(mode="json"),
            )

    def close(self) -> None:
        """Close files and sockets."""
        for handler in self._handlers:
            with suppress(OSError):  # what was lost has been warned about when it was
                handler.close()


class _Fan:
    """What the chain ends in: hands a line to every handler."""

    def __init__(self, handlers: list[logging.Handler]) -> None:
        self._handlers = handlers

    def info(self, line: str) -> None:
        """Write a line."""
        for handler in self._handlers:
            handler.handle(logging.LogRecord("safegen.ledger", logging.INFO, "", 0, line, None, None))


def _render(_: object, __: str, event: MutableMapping[str, Any]) -> str:
    """One line of JSON: only ASCII, as every other letter is escaped."""
    return json.dumps(event, ensure_ascii=True, separators=(",", ":"), sort_keys=True, default=str).replace(
        "\x7f", "\\u007f"
    )


def _handler(target: str) -> logging.Handler:
    kind, _, rest = target.strip().partition(":")
    try:
        handler = _opened(kind, rest)
    except (OSError, ValueError) as error:
        raise LedgerError(f"cannot write events to {target}: {error}", hint=_HINT) from error
    told: list[bool] = []

    def fail(record: logging.LogRecord) -> None:  # noqa: ARG001 - as logging calls it
        if not told:
            told.append(True)
            warn("ledger.events_lost", target=target, problem=repr(sys.exc_info()[1]))

    handler.handleError = fail  # type: ignore[method-assign]
    return handler


def _opened(kind: str, rest: str) -> logging.Handler:
    match kind, rest:
        case "stdout", "":
            return logging.StreamHandler(sys.stdout)
        case "file", path if path:
            return logging.handlers.WatchedFileHandler(Path(path), encoding="ascii")
        case "syslog", place:
            host, _, port = place.rpartition(":") if ":" in place else (place, "", str(_SYSLOG_PORT))
            address: Any = (host, int(port)) if place else _LOCAL_SYSLOG
            handler = logging.handlers.SysLogHandler(address, facility=logging.handlers.SysLogHandler.LOG_AUTHPRIV)
            handler.ident, handler.append_nul = "safegen: ", False
            return handler
    raise ValueError(_HINT)
