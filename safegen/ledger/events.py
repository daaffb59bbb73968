"""Log lines of the ledger, through structlog on top of the standard logger ``safegen.ledger``.

Invariants: logging comes after durability and decides nothing. Silent unless the program turns the standard logger on
at level INFO, and then rendered by whatever structlog configuration the program has.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import structlog

if TYPE_CHECKING:
    from safegen.ledger.record import Record

_STANDARD = logging.getLogger("safegen.ledger")
_LOGGER: Any = structlog.wrap_logger(_STANDARD)


def emit(index: int, leaf_hash: bytes, record: Record) -> None:
    """Log a record that has become durable; costs one comparison while nobody listens."""
    if _STANDARD.isEnabledFor(logging.INFO):
        _LOGGER.info(f"ledger.{record.stage}", index=index, leaf_hash=leaf_hash.hex(), **record.model_dump(mode="json"))


def warn(event: str, **details: str) -> None:
    """Log something that a person should put right."""
    _LOGGER.warning(event, **details)
