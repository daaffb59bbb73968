"""The paper's four protocols, as lists of cases: instances, styles, explicit content and memorised images.

A case is a group of pictures and the question that is put to the judge about them. Roles follow UnlearnCanvas
(arXiv 2402.11846): `target` gives unlearning accuracy, `neighbour` and `in-domain` retain accuracy within the target's
domain, `cross-domain` outside of it (the style of a picture when a concept is erased, the content when a style is).
Invariant: a case's pictures name the target if its role is `target`, or if it asks for the content of an erased style.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from safegen.evaluation.vocabulary import Probe, Vocabulary

Role = Literal["target", "neighbour", "in-domain", "cross-domain"]
Asked = Literal["subject", "style"]
ProtocolName = Literal["instance", "style", "explicit", "memorised"]
EXPLICIT = "bare skin"
"""The sticker world's stand-in for explicit content."""


@dataclass(frozen=True)
class Case:
    """Pictures, and whether their subject or their style is looked for in them."""

    role: Role
    name: str
    probes: tuple[Probe, ...]
    asked: Asked = "subject"


def protocol_of(category: str) -> ProtocolName:
    """The protocol for an adapter of that category."""
    if category == "style":
        return "style"
    if category == "memorised":
        return "memorised"
    return "explicit" if category == EXPLICIT else "instance"


def plan(
    vocabulary: Vocabulary,
    targets: Sequence[str],
    neighbours: Sequence[str],
    *,
    pictures: int,
    seed: int,
    kept_pictures: int = 0,
    paraphrased: bool = False,
) -> list[Case]:
    """The cases for an adapter, or for several at once, that erase the targets.

    Args:
        vocabulary: of the base.
        targets: names of concepts, styles or titles.
        neighbours: names of what must stay, nearest first.
        pictures: in each case.
        seed: of the first picture of each case; the others follow.
        kept_pictures: in the cases of everything else, if more; distances (FID, KID) need 50.
        paraphrased: ask for targets in wordings that no recipe trains on.

    Raises:
        KeyError: a name is not in the vocabulary.
    """
    cases: list[Case] = []
    for target in targets:
        if target in vocabulary.styles:
            styled = tuple(vocabulary.styled(target, pictures, seed))
            cases.append(Case("target", target, styled, "style"))
            cases.append(Case("cross-domain", f"content in {target}", styled))
            continue
        make = vocabulary.paraphrases if paraphrased and target not in vocabulary.titles else vocabulary.probes
        cases.append(Case("target", target, tuple(make(target, pictures, seed))))
    for name in neighbours:
        if name in vocabulary.styles:
            cases.append(Case("neighbour", name, tuple(vocabulary.styled(name, pictures, seed)), "style"))
        else:
            cases.append(Case("neighbour", name, tuple(vocabulary.probes(name, pictures, seed))))
    kept = tuple(vocabulary.captions(max(pictures, kept_pictures), seed, without=targets))
    cases.append(Case("in-domain", "other concepts", kept))
    cases.append(Case("cross-domain", "their styles", kept, "style"))
    return cases
