"""Drawing a request again from its records: the same bits, or how far from them and why.

Invariants: the prompt is believed only if the ledger commits to it; a base model or an adapter that is not the one of
the record is said and never drawn with; nothing is written to the ledger.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from safegen.errors import LedgerError, RequestError, SafegenError
from safegen.guard import records
from safegen.guard.environment import environment, software
from safegen.guard.result import pixels_digest
from safegen.ledger import Decided, Drawn, Record, Requested

if TYPE_CHECKING:
    from PIL.Image import Image

    from safegen.models import BaseModel
    from safegen.spm import Attached, Registry

Commit = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that is not here as the record says; `blocks` if nothing can be drawn with it."""

    what: str
    recorded: str
    here: str
    blocks: bool = False


@dataclass(frozen=True, slots=True)
class Redrawn:
    """One image of one attempt, drawn again.

    Attributes:
        distance: 1 - SSIM to the original picture, 0..1; None if there was none to compare with.
    """

    attempt: int
    image: int
    seed: int
    recorded: str
    digest: str
    picture: Image
    distance: float | None = None

    @property
    def same(self) -> bool:
        """Whether it has the recorded bits."""
        return self.digest == self.recorded


@dataclass(frozen=True)
class Replay:
    """What came of drawing a request again; `images` is empty if a difference kept it from being drawn."""

    request_id: str
    differences: tuple[Difference, ...]
    images: tuple[Redrawn, ...] = ()
    bare: tuple[Redrawn, ...] = ()

    @property
    def same(self) -> bool:
        """Whether all images have the recorded bits."""
        return bool(self.images) and all(image.same for image in self.images)


@dataclass
class Story:
    """The records of one request that say how it was drawn."""

    requested: Requested
    decided: Decided
    drawn: list[Drawn] = field(default_factory=list)

    @classmethod
    def of(cls, request_id: str, found: Sequence[Record]) -> Story:
        """Find them among the records of a request.

        Raises:
            LedgerError: if nothing was drawn, or records are missing.
        """
        requested = next((one for one in found if isinstance(one, Requested)), None)
        decided = next((one for one in found if isinstance(one, Decided)), None)
        if requested is None or decided is None:
            raise LedgerError(
                f"the ledger does not have the first records of request {request_id}",
                hint="they may have been pruned; list the latest with `safegen audit show`",
            )
        drawn = [one for one in found if isinstance(one, Drawn)]
        if not drawn:
            why = f"it was refused by the rule {decided.refusal.rule}" if decided.refusal else "it ended before"
            raise LedgerError(f"nothing was drawn for request {request_id}: {why}")
        return cls(requested, decided, drawn)

    def differences(self, registry: Registry) -> list[Difference]:
        """What here is not as the records say: model, adapters, libraries, machine."""
        wanted = self.requested
        found = [_model_difference(wanted.base_model.id, wanted.base_model.digest, registry)]
        found += [_adapter_difference(one.adapter, one.adapter_sha256, registry) for one in self.decided.bundle]
        found += _unlike("software", wanted.software, software())
        found += _unlike("environment", self.drawn[0].environment or {}, environment())
        return [one for one in found if one is not None]

    def check_prompt(self, prompt: str, negative_prompt: str, commit: Commit) -> None:
        """Make sure that these are the texts that were drawn.

        Raises:
            RequestError: if the ledger commits to others.
        """
        asked, drawn = self.requested.prompt_commitment, self.decided.drawn_prompt_commitment
        found = commit(prompt)
        if drawn is not None and found == asked:
            raise RequestError(
                "the policy took words out of this prompt before it was drawn",
                where="prompt",
                hint="give the policy of the request, or the prompt as it was drawn",
            )
        if found != (drawn or asked):
            raise RequestError("the ledger commits to another prompt", where="prompt")
        negative = commit(negative_prompt) if negative_prompt else None
        if negative != self.requested.negative_prompt_commitment:
            raise RequestError("the ledger commits to another negative prompt", where="negative_prompt")


def replay(
    story: Story,
    registry: Registry,
    prompt: str,
    negative_prompt: str = "",
    *,
    originals: Mapping[int, Image] | None = None,
    bare: bool = False,
    base: BaseModel | None = None,
) -> Replay:
    """Draw every attempt of a request again.

    Args:
        story: its records.
        registry: where the base model and the adapters are.
        prompt: what was drawn; check it first.
        negative_prompt: likewise.
        originals: pictures that were handed out, by their number, to measure the distance to.
        bare: whether to draw the last attempt once more without any membrane.
        base: the base model if it is loaded already.

    Raises:
        SafegenError: if the base model or an adapter cannot be read.
    """
    differences = tuple(story.differences(registry))
    request_id = story.requested.request_id
    if any(one.blocks for one in differences):
        return Replay(request_id, differences)
    drawing = _Drawing(story, registry, prompt, negative_prompt, originals or {}, base)
    images = tuple(image for drawn in story.drawn for image in drawing.again(drawn))
    without = tuple(drawing.again(story.drawn[-1], bare=True)) if bare else ()
    return Replay(request_id, differences, images, without)


class _Drawing:
    """Draws attempts of one request."""

    def __init__(
        self,
        story: Story,
        registry: Registry,
        prompt: str,
        negative_prompt: str,
        originals: Mapping[int, Image],
        base: BaseModel | None,
    ) -> None:
        from safegen.models import load_base

        self._story, self._originals = story, originals
        self._texts = prompt, negative_prompt
        entry = registry.base(story.requested.base_model.id)
        self._base = base or load_base(registry.folder_of(entry), digest=entry.digest)
        self._spms = {one.adapter: registry.load_adapter(one.adapter, base=entry) for one in story.decided.bundle}
        self._last = {image: drawn.attempt for drawn in story.drawn for image in _numbers(drawn)}

    def again(self, drawn: Drawn, *, bare: bool = False) -> list[Redrawn]:
        """One attempt, all its images in one batch as they were."""
        from safegen.models import DrawRequest
        from safegen.spm import attach

        parameters = self._story.requested.parameters
        wanted = DrawRequest(
            prompts=(self._texts[0],) * len(drawn.seeds),
            negative_prompt=self._texts[1],
            seeds=drawn.seeds,
            width=parameters.width,
            height=parameters.height,
            steps=parameters.steps,
            guidance=parameters.guidance,
        )
        with attach(self._base.targets(), [] if bare else self._attached(drawn), steps=parameters.steps):
            pictures = self._base.draw(wanted).images
        rows = zip(_numbers(drawn), drawn.seeds, drawn.image_sha256s, pictures, strict=True)
        return [
            Redrawn(
                attempt=drawn.attempt,
                image=number,
                seed=seed,
                recorded=digest,
                digest=pixels_digest(picture),
                picture=picture,
                distance=self._distance(drawn, number, picture),
            )
            for number, seed, digest, picture in rows
        ]

    def _attached(self, drawn: Drawn) -> list[Attached]:
        from safegen.spm import Attached

        return [Attached(self._spms[one.adapter], one.gamma, one.adapter) for one in drawn.permeabilities]

    def _distance(self, drawn: Drawn, number: int, picture: Image) -> float | None:
        original = self._originals.get(number)
        if original is None or self._last[number] != drawn.attempt or original.size != picture.size:
            return None
        return structural_distance(original, picture)


def structural_distance(first: Image, second: Image) -> float:
    """1 - SSIM of two pictures of one size, over their luminance in windows of 7 pixels; 0 is equal.

    Source: Wang et al. 2004, "Image quality assessment", equation 13.
    """
    import numpy as np
    import torch
    from torch.nn.functional import avg_pool2d

    a, b = (torch.from_numpy(np.array(one.convert("L"), dtype=np.float64))[None, None] for one in (first, second))

    def mean(values: torch.Tensor) -> torch.Tensor:
        return avg_pool2d(values, 7, stride=1)

    mean_a, mean_b = mean(a), mean(b)
    variance_a, variance_b = mean(a * a) - mean_a**2, mean(b * b) - mean_b**2
    covariance = mean(a * b) - mean_a * mean_b
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    similarity = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    similarity /= (mean_a**2 + mean_b**2 + c1) * (variance_a + variance_b + c2)
    return min(1.0, max(0.0, 1.0 - float(similarity.mean())))


def _numbers(drawn: Drawn) -> tuple[int, ...]:
    """The numbers of the images of an attempt; records of version 1 do not say them, but for a first attempt."""
    return drawn.images or tuple(range(len(drawn.seeds)))


def _model_difference(name: str, digest: str, registry: Registry) -> Difference | None:
    try:
        here = registry.base(name).digest
    except SafegenError:
        here = "unknown"
    return None if here == digest else Difference(f"base model {name}", digest, here, blocks=True)


def _adapter_difference(name: str, sha256: str, registry: Registry) -> Difference | None:
    try:
        here = records.hexdigest(registry.adapter(name).digest)
    except SafegenError:
        here = "unknown"
    return None if here == sha256 else Difference(f"adapter {name}", sha256, here, blocks=True)


def _unlike(kind: str, recorded: Mapping[str, str], here: Mapping[str, str]) -> list[Difference]:
    return [
        Difference(f"{kind} {name}", value, here.get(name, "absent"))
        for name, value in recorded.items()
        if here.get(name, "absent") != value
    ]
