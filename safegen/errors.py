"""One exception tree for the whole package.

Invariants: every error that a user can cause or meet is a `SafegenError`; it says what is wrong (`str(error)`), where
(`where`: a file with line and column, a field, a module) and what to do (`hint`). A refusal is not an error: it is a
value that `generate()` returns. Misuse of the API by a programmer is a plain `TypeError` or `ValueError`.
"""

from __future__ import annotations


class SafegenError(Exception):
    """Base of all errors raised by safegen.

    Attributes:
        code: stable, machine-readable name of the kind of failure, e.g. ``policy.syntax``.
        where: the place, e.g. ``policies/default.yaml:12:5``; empty if there is none.
        hint: what the reader can do about it; empty if there is nothing to add.
    """

    code: str = "error"

    def __init__(self, message: str, *, where: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        text = super().__str__()
        if self.where:
            text = f"{self.where}: {text}"
        if self.hint:
            text = f"{text}\n  hint: {self.hint}"
        return text

    @property
    def message(self) -> str:
        """What is wrong, without place and hint."""
        return super().__str__()


class RequestError(SafegenError):
    """The request itself cannot be carried out: no prompt, n out of range, an odd size."""

    code = "request"


class PolicyError(SafegenError):
    """A policy cannot be used."""

    code = "policy"


class PolicySyntaxError(PolicyError):
    """The policy file is not readable as YAML text of the policy format."""

    code = "policy.syntax"


class PolicySemanticError(PolicyError):
    """The policy file reads well and says something impossible, e.g. names an unknown concept."""

    code = "policy.semantic"


class PolicySignatureError(PolicyError):
    """A policy is not signed, or not by the key that is asked for, or not as it is now."""

    code = "policy.signature"


class AdapterError(SafegenError):
    """An SPM adapter cannot be used."""

    code = "adapter"


class AdapterIntegrityError(AdapterError):
    """An adapter file is missing, damaged, or not the file whose digest the index states."""

    code = "adapter.integrity"


class AdapterMissingError(AdapterIntegrityError):
    """There is no adapter file at that place."""

    code = "adapter.missing"


class AdapterSourceError(AdapterIntegrityError):
    """A file cannot be fetched from where an index lies, or its place is not pinned."""

    code = "adapter.source"


class AdapterDigestError(AdapterIntegrityError):
    """The adapter file has another digest than the one that was asked for."""

    code = "adapter.digest"


class AdapterTruncatedError(AdapterIntegrityError):
    """The adapter file ends before its header says that it does."""

    code = "adapter.truncated"


class AdapterHeaderError(AdapterIntegrityError):
    """The header of the adapter file is too long, unreadable, or contradicts the bytes that follow."""

    code = "adapter.header"


class AdapterPickleError(AdapterIntegrityError):
    """The file is a pickle, whatever its name says; pickles run code when they are loaded."""

    code = "adapter.pickle"


class AdapterDtypeError(AdapterIntegrityError):
    """A tensor of the adapter file is not of a floating-point type that SPMs have."""

    code = "adapter.dtype"


class AdapterKeyError(AdapterIntegrityError):
    """The file holds a tensor that no SPM has."""

    code = "adapter.key"


class AdapterHalfError(AdapterIntegrityError):
    """A layer has its down or its up half alone."""

    code = "adapter.half"


class AdapterAlphaError(AdapterIntegrityError):
    """A layer's alpha is missing or is no scale."""

    code = "adapter.alpha"


class AdapterRankError(AdapterIntegrityError):
    """A layer has rank 0, or its halves or the metadata disagree about the rank."""

    code = "adapter.rank"


class AdapterNotFiniteError(AdapterIntegrityError):
    """The file holds NaN or infinity."""

    code = "adapter.not_finite"


class AdapterDuplicateError(AdapterError):
    """The same concept, adapter or layer is named twice, so that it would act twice."""

    code = "adapter.duplicate"


class AdapterMismatchError(AdapterError):
    """An adapter does not fit the base model it was asked to attach to."""

    code = "adapter.mismatch"


class AdapterFamilyError(AdapterMismatchError):
    """An adapter is for another family of base models."""

    code = "adapter.family"


class AdapterLayerError(AdapterMismatchError):
    """An adapter has a layer that the base model does not have."""

    code = "adapter.layer"


class AdapterShapeError(AdapterMismatchError):
    """A layer of an adapter has a shape that no layer has, or another than its counterpart in the base model."""

    code = "adapter.shape"


class ModelError(SafegenError):
    """A base model cannot be found, loaded or run."""

    code = "model"


class ReviewError(SafegenError):
    """A reviewer cannot be loaded or gave no usable score."""

    code = "review"


class LedgerError(SafegenError):
    """The ledger cannot be used."""

    code = "ledger"


class LedgerWriteError(LedgerError):
    """A record could not be made durable; nothing that depends on it may happen."""

    code = "ledger.write"


class LedgerTamperedError(LedgerError):
    """The ledger's content contradicts its own hashes or signatures."""

    code = "ledger.tampered"


class TrainingError(SafegenError):
    """A training run cannot start, resume or go on."""

    code = "training"


class ConsoleError(SafegenError):
    """The auditor's console cannot start or go on."""

    code = "console"


class ConsoleRequestError(ConsoleError):
    """What a user asked the console for makes no sense."""

    code = "console.request"
