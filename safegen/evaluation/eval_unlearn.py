"""A plug-in for the benchmark eval-unlearn: our SPMs as one of its techniques.

eval-unlearn finds techniques by the entry-point group `eval_unlearn.techniques` and asks of one no more than keyword
arguments at construction and `generate(prompts, seed)`; so nothing of it is imported here. Its metrics (ASR on I2P,
P4D, MMA, Ring-A-Bell, ERR, FID, CLIP score, UA-IRA, TIFA) then run on SPMs as on any technique.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image

    from safegen.spm import AdapterEntry, Registry


class SpmTechnique:
    """Draws behind the SPMs of a concept and their calibrated gate."""

    def __init__(
        self,
        *,
        erase_concept: str = "",
        adapters: Sequence[str] = (),
        base: str = "sticker",
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        **_: Any,
    ) -> None:
        """Load base and adapters.

        Args:
            erase_concept: finds adapters by concept, phrase or category; several may be parted by commas.
            adapters: ids of adapters, instead of that or beside it.
            base: id of a base model of the registry.
            num_inference_steps: the base's own number by default.
            guidance_scale: the base's own by default.

        Raises:
            ValueError: nothing to erase was named, or no adapter erases it.
        """
        from safegen.evaluation.drawing import Sampler
        from safegen.evaluation.method import Membranes
        from safegen.evaluation.opening import Gated, Installed
        from safegen.models import load_base
        from safegen.spm import Registry

        registry = Registry.open()
        entry = registry.base(base)
        chosen = [*(registry.adapter(name) for name in adapters), *_found(registry, erase_concept)]
        if not chosen:
            raise ValueError("name what to erase: `erase_concept`, or ids of adapters in `adapters`")
        self.adapters = tuple(dict.fromkeys(each.id for each in chosen))
        model = load_base(registry.folder_of(entry), digest=entry.digest)
        installed = [
            Installed.of(registry.adapter(name), registry.load_adapter(name, base=entry)) for name in self.adapters
        ]
        self._method = Membranes(model, Gated(model, installed))
        self._sampler = Sampler(entry.size, num_inference_steps or entry.steps, guidance_scale or entry.guidance)

    def generate(self, prompts: Sequence[str], seed: int | None = None, **kwargs: Any) -> list[Image]:
        """One picture a prompt; picture i has the seed `seed + i`.

        `num_inference_steps` and `guidance_scale` override the technique's own; other options are ignored.
        """
        from safegen.models import DrawRequest

        sampler = self._sampler
        steps = kwargs.get("num_inference_steps") or sampler.steps
        guidance = kwargs.get("guidance_scale") or sampler.guidance
        drawn: list[Image] = []
        for number, (prompt, state) in enumerate(zip(prompts, self._method.states(prompts), strict=True)):
            request = DrawRequest(
                (prompt,), ((seed or 0) + number,), "", sampler.size, sampler.size, int(steps), float(guidance)
            )
            drawn += self._method.draw(state, request)
        return drawn


def _found(registry: Registry, names: str) -> list[AdapterEntry]:
    found = []
    for name in (part.strip().lower() for part in names.split(",") if part.strip()):
        fitting = [
            entry
            for entry in registry.index.adapters
            if name in {entry.concept.lower(), entry.category.lower(), *(phrase.lower() for phrase in entry.phrases)}
        ]
        if not fitting:
            raise ValueError(f"no adapter of the registry erases {name!r}; `safegen spm list` shows them")
        found += fitting
    return found
