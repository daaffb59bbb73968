"""The peers of the overhead benchmark, each on a twin of the same model.

`Peft`: diffusers' own way, an adapter a concept and `set_adapters`. `Released`: what the SPM authors' script does,
written anew from its description: one network over all modules, whose weights are the weighted sum of the state dicts,
loaded again for every prompt.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from overhead_models import twin
from peft import LoraConfig
from torch import nn

from safegen.spm import SpmFile, Targets


class Peft:
    """diffusers with PEFT: one adapter for each SPM."""

    def __init__(self, unet: nn.Module, targets: Targets, spms: Sequence[SpmFile]) -> None:
        self.unet = twin(unet)
        config = LoraConfig(r=1, lora_alpha=1, target_modules=list(targets), init_lora_weights=False)
        self.unet.add_adapter(config, "c0")
        for number, spm in enumerate(spms):
            if number:
                self._add_another(config, f"c{number}", targets)
            self._fill(f"c{number}", targets, spm)
        self.unet.disable_adapters()

    def _add_another(self, config: LoraConfig, adapter: str, targets: Targets) -> None:
        """What `add_adapter` comes to, without its searches: with 32 adapters those take a quarter of a minute."""
        self.unet.peft_config[adapter] = config
        for name in targets:
            self.unet.get_submodule(name).update_layer(adapter, config.r, config.lora_alpha, config=config)

    @torch.no_grad()
    def _fill(self, adapter: str, targets: Targets, spm: SpmFile) -> None:
        for name in targets:
            down, up, _ = spm.layers[f"lora_unet_{name.replace('.', '_')}"]
            layer = self.unet.get_submodule(name)
            layer.lora_A[adapter].weight.copy_(down)
            layer.lora_B[adapter].weight.copy_(up)

    @contextmanager
    def attach(self, gammas: Sequence[float]) -> Iterator[None]:
        """The adapters that are open, at their permeabilities."""
        active = {f"c{number}": gamma for number, gamma in enumerate(gammas) if gamma}
        if active:
            self.unet.enable_adapters()
            self.unet.set_adapters(list(active), list(active.values()))
        else:
            self.unet.disable_adapters()
        yield


class Released:
    """The script's network: every module's `forward` adds up(down x) * scale, for good."""

    def __init__(self, unet: nn.Module, targets: Targets, spms: Sequence[SpmFile]) -> None:
        self.unet = twin(unet)
        self._states = [_state_dict(spm) for spm in spms]
        self._network = nn.ModuleDict(
            {f"lora_unet_{name.replace('.', '_')}": _Layer(self.unet.get_submodule(name)) for name in targets}
        )

    @contextmanager
    def attach(self, gammas: Sequence[float]) -> Iterator[None]:
        """Sum the state dicts of what is open and load the sum; the script would sum up the closed ones too."""
        total = {key: torch.zeros_like(value) for key, value in self._states[0].items()}
        for state, gamma in zip(self._states, gammas, strict=False):
            if gamma:
                for key, value in state.items():
                    total[key] += value * gamma
        self._network.load_state_dict(total)
        yield


class _Layer(nn.Module):
    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        if isinstance(module, nn.Conv2d):
            self.down = nn.Conv2d(module.in_channels, 1, module.kernel_size, module.stride, module.padding, bias=False)
            self.up = nn.Conv2d(1, module.out_channels, 1, bias=False)
        else:
            self.down = nn.Linear(module.in_features, 1, bias=False)
            self.up = nn.Linear(1, module.out_features, bias=False)
        self.register_buffer("alpha", torch.tensor(1.0))
        self.requires_grad_(requires_grad=False)
        bare = module.forward
        module.forward = lambda x: bare(x) + self.up(self.down(x)) * 1.0 * 1.0  # multiplier and scale


def _state_dict(spm: SpmFile) -> dict[str, torch.Tensor]:
    state = {}
    for layer, (down, up, alpha) in spm.layers.items():
        state |= {f"{layer}.down.weight": down, f"{layer}.up.weight": up, f"{layer}.alpha": torch.tensor(alpha)}
    return state
