"""Runs cases: draws them bare and by a method, asks the judge and CLIP, and fills in the cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

from safegen.evaluation import measures
from safegen.evaluation.distance import frechet_distance, kernel_distance
from safegen.evaluation.intervals import bootstrap, wilson
from safegen.evaluation.protocols import Case
from safegen.evaluation.record import Cell, Memorised, Rate

if TYPE_CHECKING:
    from PIL.Image import Image

    from safegen.evaluation.gallery import Gallery
    from safegen.evaluation.judge import Judge
    from safegen.evaluation.method import Method
    from safegen.evaluation.vocabulary import Probe

_LEAST_FOR_A_DISTANCE = 50


@dataclass(frozen=True)
class Lab:
    """Where pictures come from and who looks at them; CLIP may be missing."""

    gallery: Gallery
    judge: Judge
    clip: measures.Clip | None = None

    def recognised(self, pictures: Sequence[Image], probes: Sequence[Probe], *, style: bool = False) -> list[bool]:
        """Whether the judge sees each probe's subject, or its style."""
        seen = self.judge.judge(pictures)
        if style:
            return [name == probe.style for name, probe in zip(seen.styles, probes, strict=True)]
        return [name == probe.subject for name, probe in zip(seen.concepts, probes, strict=True)]

    def share(self, method: Method, probes: Sequence[Probe], *, style: bool = False) -> list[bool]:
        """Draw the probes and ask the judge."""
        return self.recognised(self.gallery.draw(method, [probe.prompted for probe in probes]), probes, style=style)


def rate(hits: Sequence[bool]) -> Rate:
    """A share with its interval; of nothing, 0 with the interval 0..1."""
    low, high = wilson(sum(hits), len(hits))
    return Rate(value=sum(hits) / max(len(hits), 1), low=low, high=high)


def measure(lab: Lab, method: Method, case: Case) -> Cell:
    """One case under one method."""
    prompts = [probe.prompted for probe in case.probes]
    bare, made = lab.gallery.bare(prompts), lab.gallery.draw(method, prompts)
    style = case.asked == "style"
    ssim = measures.similarities(bare, made).tolist()
    low, high = bootstrap(ssim)
    kid, fid = _distances(lab.judge, bare, made)
    target = case.role == "target"
    return Cell(
        role=case.role,
        name=case.name,
        asked=case.asked,
        pictures=len(prompts),
        before=rate(lab.recognised(bare, case.probes, style=style)),
        after=rate(lab.recognised(made, case.probes, style=style)),
        clip_before=_clip_score(lab.clip, bare, case.probes),
        clip_after=_clip_score(lab.clip, made, case.probes),
        clip_error=_clip_error(lab.clip, made, case.name) if target else None,
        ssim=sum(ssim) / len(ssim),
        ssim_low=low,
        ssim_high=high,
        identical=rate(measures.identical(bare, made)),
        kid=kid,
        fid=fid,
    )


def memorised(lab: Lab, method: Method, case: Case, unrelated: Sequence[Probe]) -> Memorised:
    """How like the recital of a title its pictures still are, beside those of unrelated prompts."""
    prompts = [probe.prompted for probe in case.probes]
    bare, made = lab.gallery.bare(prompts), lab.gallery.draw(method, prompts)
    others = lab.gallery.bare([probe.prompted for probe in unrelated])
    recital = bare[0]
    far = _likeness(others, recital)
    mean = lab.judge.features(others).mean(0)
    looks = {name: _cosines(lab.judge, recital, each, mean) for name, each in (("b", bare[1:]), ("m", made))}
    looks["u"] = _cosines(lab.judge, recital, others, mean)
    return Memorised(
        title=case.name,
        before=float(_likeness(bare[1:], recital).mean()),
        after=float(_likeness(made, recital).mean()),
        unrelated=float(far.mean()),
        unrelated_high=float(far.quantile(0.95)),
        before_features=float(looks["b"].mean()),
        after_features=float(looks["m"].mean()),
        unrelated_features_high=float(looks["u"].quantile(0.95)),
    )


def _likeness(pictures: Sequence[Image], original: Image) -> torch.Tensor:
    return measures.similarities(pictures, [original] * len(pictures))


def _cosines(judge: Judge, original: Image, pictures: Sequence[Image], mean: torch.Tensor) -> torch.Tensor:
    features = judge.features([original, *pictures]) - mean
    return F.cosine_similarity(features[1:], features[:1])


def _distances(judge: Judge, bare: Sequence[Image], made: Sequence[Image]) -> tuple[float | None, float | None]:
    if len(bare) < _LEAST_FOR_A_DISTANCE:
        return None, None
    left, right = judge.features(bare), judge.features(made)
    return kernel_distance(left, right)[0], frechet_distance(left, right)


def _clip_score(clip: measures.Clip | None, pictures: Sequence[Image], probes: Sequence[Probe]) -> float | None:
    if clip is None:
        return None
    metric = measures.ClipScore(clip)
    metric.update(pictures, [probe.prompt for probe in probes])
    return float(metric.compute())


def _clip_error(clip: measures.Clip | None, pictures: Sequence[Image], name: str) -> Rate | None:
    if clip is None:
        return None
    metric = measures.ClipErrorRate(clip, name)
    metric.update(pictures)
    low, high = wilson(int(metric.hits), int(metric.trials))
    return Rate(value=float(metric.compute()), low=low, high=high)
