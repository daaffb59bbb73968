"""What an index of models says: base models, adapters, reviewers, judges, each pinned by its digest.

Pure: no file is read here, and no weights. Invariant: an entry states where its bytes lie, relative to the index, and
what their sha256 must be.
"""

from __future__ import annotations

from pathlib import PurePosixPath

from pydantic import BaseModel, ConfigDict, Field, field_validator

from safegen.spm.calibration import Calibration, Share

DIGEST = r"^sha256:[0-9a-f]{64}$"


class Entry(BaseModel):
    """Something with bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    path: str
    digest: str = Field(pattern=DIGEST)
    licence: str

    @field_validator("path")
    @classmethod
    def _inside(cls, path: str) -> str:
        if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts or "\\" in path:
            message = "a path of an index stays inside the index's folder"
            raise ValueError(message)
        return path


class ModelEntry(Entry):
    """A reviewer or judge: a folder of weights, pinned by its digest."""

    measured: dict[str, float] = {}


class BaseEntry(ModelEntry):
    """A base model; `family` says which adapters may attach, `tuned_from` from which base it was fine-tuned."""

    family: str
    tuned_from: str | None = None
    size: int
    guidance: float
    steps: int


class GateSummary(BaseModel):
    """An adapter's calibration in short; the whole stands in its file.

    Attributes:
        cutoff: least similarity that opens the gate; 1 if only the concept's own words do.
        target_open: share of the concept's prompts that open it by meaning alone.
        benign_open: share of the ordinary prompts that do.
        target_prompts: how many were read.
        benign_prompts: likewise.
        encoder: digest of the text encoder that they were read with.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    cutoff: Share
    target_open: Share
    benign_open: Share
    target_prompts: int
    benign_prompts: int
    encoder: str = Field(pattern=DIGEST)

    @classmethod
    def of(cls, calibration: Calibration) -> GateSummary:
        """The summary of a calibration."""
        return cls(
            cutoff=round(calibration.cutoff, 4),
            target_open=round(calibration.target.open, 4),
            benign_open=round(calibration.benign.open, 4),
            target_prompts=calibration.target.prompts,
            benign_prompts=calibration.benign.prompts,
            encoder=calibration.encoder,
        )


class AdapterEntry(Entry):
    """One SPM: what it erases, what it was trained on, how, how its gate opens, and what it was seen to do."""

    concept: str
    category: str
    phrases: tuple[str, ...]
    base: str
    base_digest: str = Field(pattern=DIGEST)
    family: str
    rank: int
    alpha: float
    recipe: str
    calibration: GateSummary | None = None
    measured: dict[str, float] = {}


class Index(BaseModel):
    """The content of `index.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int = 1
    bases: tuple[BaseEntry, ...] = ()
    adapters: tuple[AdapterEntry, ...] = ()
    reviewers: tuple[ModelEntry, ...] = ()
    judges: tuple[ModelEntry, ...] = ()
