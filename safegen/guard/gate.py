"""Opens the bundle's membranes for one prompt, and opens them further when a review asks for it.

Invariants: all SPMs of a bundle are compared in one computation, and none of them depends on the others; what the
policy matched in the prompt is open whatever the text encoder makes of it; a permeability is 0 exactly when the SPM's
curve or its rule's cut-off says so.
"""

from __future__ import annotations

from itertools import repeat
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from safegen.policy import BundleItem

if TYPE_CHECKING:
    from safegen.guard.transports import Bundle, Prompt, Transport
    from safegen.models import BaseModel
    from safegen.spm import Attached, SpmFile
    from safegen.spm.text_space import TextSpace

ESCALATION = 2.0
"""Escalating opens a membrane to this multiple of what it was, or of its rule's strength if that is more."""

_transport, _matched = attrgetter("transport"), attrgetter("matched")
_BOUNDS = [attrgetter(name) for name in ("strength", "floor", "ceiling", "cutoff")]


class Opening(NamedTuple):
    """One SPM of the bundle and its permeability for the prompt at hand.

    Attributes:
        item: what the policy says about it.
        spm: its file.
        gamma: permeability, 0 if closed.
        phrase: the phrase of the concept that the gate found nearest to the prompt, or that the policy matched in it;
            empty if the gate was told to be open whatever the prompt.
        similarity: how near, 0..1; 1 for a phrase that the policy matched, 0 if nothing was compared.
        escalated: whether a review opened it further.
    """

    item: BundleItem
    spm: SpmFile
    gamma: float
    phrase: str
    similarity: float
    escalated: bool = False

    def escalate(self) -> Opening:
        """Opened to erasing: twice as far as before, up to the rule's ceiling."""
        wider = min(self.item.ceiling, ESCALATION * max(self.gamma, self.item.strength))
        return self._replace(gamma=max(wider, self.gamma), escalated=True)

    def attached(self) -> Attached:
        """As `spm.attach` takes it."""
        from safegen.spm import Attached

        return Attached(spm=self.spm, gamma=self.gamma, name=self.item.adapter)


class Gatekeeper:
    """Facilitated Transport for one base model, with the concepts' readings kept."""

    def __init__(self, base: BaseModel, space: TextSpace | None = None) -> None:
        """Keep the gates of a base model.

        Args:
            base: the model.
            space: its text space, if concepts were read in it already.
        """
        from safegen.evaluation.gate_calibration import text_space
        from safegen.guard.transports import CalibratedTransport, PaperTransport

        self._base = base
        self._transports: dict[str, Transport] = {
            "calibrated": CalibratedTransport(space or text_space(base)),
            "paper": PaperTransport(base),
        }

    def open(self, prompt: str, bundle: Bundle) -> tuple[list[Opening], bool]:
        """Permeability of each SPM for the prompt, and whether the prompt is longer than the base reads."""
        from safegen.guard.transports import Prompt

        reading = self._base.read([prompt])[0]
        return self._open(Prompt(prompt, reading), bundle), reading.truncated

    def _open(self, prompt: Prompt, bundle: Bundle) -> list[Opening]:
        """The bundle's openings; loops over its items run in C, since there may be ten thousand of them."""
        from safegen.spm.transport import bounded

        if not bundle:
            return []
        items, spms = map(list, zip(*bundle, strict=True))
        transports, matched = list(map(_transport, items)), list(map(_matched, items))
        opened, similarity = np.ones(len(items)), np.zeros(len(items))
        phrases = np.full(len(items), "", dtype=object)
        for name, transport in self._transports.items():
            places = np.flatnonzero(np.fromiter(map(name.__eq__, transports), bool, len(items))).tolist()
            # Where the policy found every concept in the text itself, there is nothing left to compare.
            if not all(matched[at] for at in places):
                whole = len(places) == len(items)
                own = bundle if whole else [bundle[at] for at in places]
                opened[places], similarity[places], phrases[places] = transport.compare(prompt, own)
        for at in [at for at, phrase in enumerate(matched) if phrase and transports[at] != "open"]:
            opened[at], similarity[at], phrases[at] = 1.0, 1.0, matched[at]
        bounds = [np.fromiter(map(bound, items), float, len(items)) for bound in _BOUNDS]
        gammas = np.asarray(bounded(opened, *bounds))
        columns = zip(items, spms, gammas.tolist(), phrases.tolist(), similarity.tolist(), repeat(False))
        # What Opening(...) does, without a call in Python for each.
        return list(map(tuple.__new__, repeat(Opening), columns))
