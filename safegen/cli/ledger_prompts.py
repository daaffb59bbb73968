"""Prompts for `safegen policy backtest` that lie sealed in a ledger: in its folder, or in an export of it.

Invariants: reads only; a request whose prompt cannot be read is counted, never passed over in silence.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safegen.errors import RequestError

if TYPE_CHECKING:
    from safegen.policy import PromptRequest

_FORMAT = "safegen-ledger-export/"
_HINT = (
    "prompts are kept where the policy says `records: {prompts: sealed}`, and read with the keys of `--ledger FOLDER`"
)


@dataclass
class LedgerPrompts:
    """The requests that a ledger recorded.

    Attributes:
        source: the ledger's folder, or an export of it, JSON Lines or Parquet.
        keys: the folder that holds the keys of its sealed prompts.
        unread: requests whose prompt was not sealed, or whose key is gone; known once all were read.
    """

    source: Path
    keys: Path
    unread: int = field(default=0, init=False)

    def requests(self) -> Iterator[PromptRequest]:
        """Yield those that can be read.

        Raises:
            RequestError: the source cannot be read, or none of its prompts can.
        """
        from safegen.policy import PromptRequest

        read = 0
        for record in self._records():
            if record.get("stage") != "requested":
                continue
            texts = self._texts(record)
            if "prompt" not in texts:
                self.unread += 1
                continue
            audience = record.get("audience") or {}
            known = {name: audience[name] for name in ("tenant", "market", "age_gate") if audience.get(name)}
            subject = audience.get("subject_commitment") or ""
            read += 1
            yield PromptRequest.model_validate({**texts, **known, "subject": subject})
        if not read:
            message = f"none of the {self.unread} prompts of the ledger can be read: it holds their commitments alone"
            raise RequestError(message, where=str(self.source), hint=_HINT)

    def _texts(self, record: dict[str, Any]) -> dict[str, str]:
        """The prompts of a request that are sealed and whose keys are there."""
        from safegen.ledger import PromptKeys, Requested

        request = Requested.model_validate(record)
        keys = PromptKeys(self.keys)
        found = {}
        if request.sealed_prompt is not None:
            found["prompt"] = keys.open(request.request_id, "prompt", request.sealed_prompt)
        if request.sealed_negative_prompt is not None:
            found["negative_prompt"] = keys.open(request.request_id, "negative_prompt", request.sealed_negative_prompt)
        return {name: text for name, text in found.items() if text is not None}

    def _records(self) -> Iterator[dict[str, Any]]:
        if self.source.is_dir():
            yield from self._of_folder()
        elif self.source.suffix == ".parquet":
            from pyarrow import parquet

            for batch in parquet.ParquetFile(self.source).iter_batches(columns=["record"]):
                yield from (json.loads(row["record"]) for row in batch.to_pylist() if row["record"])
        else:
            with self.source.open(encoding="utf-8") as lines:
                yield from (record for line in lines if isinstance(record := json.loads(line).get("record"), dict))

    def _of_folder(self) -> Iterator[dict[str, Any]]:
        from safegen.ledger import LedgerReader

        with LedgerReader.open_read_only(self.source) as reader:
            yield from (json.loads(entry.body) for entry in reader.entries() if entry.body)


def is_of_a_ledger(path: Path) -> bool:
    """Whether a path is a ledger's folder, or an export of one."""
    if path.is_dir():
        return True
    if path.suffix == ".parquet" and path.is_file():
        try:
            from pyarrow import ArrowException, parquet
        except ImportError:
            return False
        try:
            return {"record", "leaf_hash"} <= set(parquet.ParquetFile(path).schema_arrow.names)
        except (ArrowException, OSError):
            return False
    if path.suffix == ".jsonl" and path.is_file():
        with path.open("rb") as file:
            return _FORMAT.encode() in file.readline(200)
    return False
