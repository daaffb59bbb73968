"""One evaluation from the plan to the record: what `safegen spm evaluate` runs for each adapter."""

from __future__ import annotations

import resource
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from safegen.evaluation.measure import Lab, measure, memorised
from safegen.evaluation.method import Method
from safegen.evaluation.neighbours import nearest
from safegen.evaluation.protocols import Case, plan, protocol_of
from safegen.evaluation.record import Cost, Evaluation, Setting
from safegen.evaluation.report import Evaluated, Pair
from safegen.evaluation.vocabulary import Vocabulary

_PAIRS = 8
_TIMED = 8


@dataclass(frozen=True)
class Size:
    """How much is drawn.

    Attributes:
        pictures: in each case.
        neighbours: nearest names that must stay.
        kept: pictures of everything else; FID and KID need 50.
        seed: of the first picture.
        timed: whether to draw some pictures twice to state seconds.
    """

    pictures: int = 20
    neighbours: int = 3
    kept: int = 60
    seed: int = 100
    timed: bool = False


@dataclass(frozen=True)
class Erased:
    """What is evaluated: names of what is erased, and what the adapters weigh."""

    targets: tuple[str, ...]
    category: str
    adapters: tuple[str, ...] = ()
    gate: str = "calibrated"
    bytes: int = 0
    parameters: int = 0


def evaluate(lab: Lab, method: Method, erased: Erased, vocabulary: Vocabulary, size: Size, *, base: str) -> Evaluated:
    """Draw, judge and record.

    Raises:
        KeyError: a target is not in the vocabulary.
    """
    cases = planned(lab, erased, vocabulary, size)
    cells = tuple(measure(lab, method, case) for case in cases)
    unrelated = vocabulary.captions(size.kept, size.seed, without=erased.targets)
    titles = [case for case in cases if case.role == "target" and case.name in vocabulary.titles]
    record = Evaluation(
        protocol=protocol_of(erased.category),
        setting=_setting(lab, method, erased, size, base),
        cells=cells,
        memorised=tuple(memorised(lab, method, case, unrelated) for case in titles),
        cost=_cost(lab, method, cases[0], erased, timed=size.timed),
    )
    return Evaluated(record, _pairs(lab, method, cases))


def planned(lab: Lab, erased: Erased, vocabulary: Vocabulary, size: Size) -> list[Case]:
    """The cases of an evaluation."""
    return plan(
        vocabulary,
        erased.targets,
        _neighbours(lab, erased.targets, vocabulary, size.neighbours),
        pictures=size.pictures,
        seed=size.seed,
        kept_pictures=size.kept,
    )


def _neighbours(lab: Lab, targets: Sequence[str], vocabulary: Vocabulary, count: int) -> list[str]:
    found: dict[str, None] = {}
    for target in targets:
        if target in vocabulary.styles:
            others: Sequence[str] = vocabulary.styles
        elif target in vocabulary.titles:
            others = vocabulary.titles
        else:
            others = [each.name for each in vocabulary.concepts]
        free = [name for name in others if name not in targets]
        found.update(dict.fromkeys(nearest(lab.gallery.base, target, free, count) if free else ()))
    return list(found)


def _setting(lab: Lab, method: Method, erased: Erased, size: Size, base: str) -> Setting:
    sampler = lab.gallery.sampler
    return Setting(
        method=method.name,
        adapters=erased.adapters,
        gate=erased.gate,
        base=base,
        base_digest=lab.gallery.base.digest,
        judge=lab.judge.digest,
        clip=getattr(lab.clip, "digest", None),
        size=sampler.size,
        steps=sampler.steps,
        guidance=sampler.guidance,
        seed=size.seed,
        safegen=_version(),
    )


def _cost(lab: Lab, method: Method, case: Case, erased: Erased, *, timed: bool) -> Cost:
    bare = made = None
    if timed:
        prompts = [probe.prompted for probe in case.probes[:_TIMED]]
        bare, made = lab.gallery.seconds(None, prompts), lab.gallery.seconds(method, prompts)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Cost(seconds_bare=bare, seconds=made, peak_mib=peak, bytes=erased.bytes, parameters=erased.parameters)


def _pairs(lab: Lab, method: Method, cases: Sequence[Case]) -> list[Pair]:
    """Some pictures of the target, and one of each other case; all of them were drawn before."""
    chosen = [probe for case in cases if case.role == "target" for probe in case.probes[:_PAIRS]]
    chosen += [case.probes[0] for case in cases if case.role != "target"]
    prompts = [probe.prompted for probe in chosen]
    pictures = zip(lab.gallery.bare(prompts), lab.gallery.draw(method, prompts), strict=True)
    return [Pair(*prompted, before, after) for prompted, (before, after) in zip(prompts, pictures, strict=True)]


def _version() -> str:
    try:
        return version("safegen")
    except PackageNotFoundError:
        return "source"
