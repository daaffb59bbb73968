"""What safegen's membranes cost beside the bare pipeline, diffusers with PEFT, and the SPM authors' script.

1,000 SPMs are installed, and 0, 1, 8 or 32 of them are open for a prompt; or four prompts with different open sets
stand in one batch. Every step of a contestant has a bare step right before or after it, by a copy of the model that
shares its parameters, and is compared with that one alone, since a machine's speed drifts. The sticker base draws whole
pictures under SPMs of its zoo. On the UNet of SD 1.4's size, SPMs have a layer for every target, as the paper's have;
steps and what is done once for a prompt are timed separately, since 20 steps would take a minute; the ratio is that of
once + 20 steps to 20 bare steps, without text encoder and decoder, which would make it smaller. Memory is what a prompt
adds at its peak to what is there. The process keeps freed memory (`keep_freed_memory`), for all alike. The gate's own
time is not in here; gate.py has it.

With --quick steps are short, so what a layer costs apart from its sums weighs more; few pairs leave 2 to 4 % of noise.

    python benchmarks/overhead.py                  everything; about 12 minutes on two quiet cores
    python benchmarks/overhead.py --only sd14      one part: sticker, sd14, import or model; other parts are kept
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Annotated, Any

import overhead_ways
import peft
import torch
import typer
from overhead_models import Clock, Visit, keep_freed_memory, open_from, peak_of, random_spms, sd14_unet, twin, visit
from overhead_peers import Peft, Released
from reporting import RESULTS, Bar, Report

from safegen.models import DrawRequest, load_base
from safegen.models.stable_diffusion import unet_targets
from safegen.spm import Attached, Registry, SpmFile, attach
from safegen.spm.layers import layer_name

INSTALLED, DISTINCT = 1000, 32
COUNTS = (0, 1, 8, 32)
MIXED = ((0, 1), (1, 8), (9, 8), (17, 15))
"""First and number of the open SPMs of each prompt in the mixed batch; no two prompts share one."""
STEPS = 20
KEPT = RESULTS / "overhead.json"
BARS = {0: 1.01, 8: 1.02, 32: 1.03}
MIXED_BAR = 1.10
PAIRS = {"sticker": (6, 4, 2), "sd14": (3, 4, 2)}
PAIRS_QUICK = {"sticker": (1, 5, 2), "sd14": (1, 6, 2)}
"""Rounds of visits, and pairs of an own and a bare step in a visit of ours and of a peer."""


@dataclass(frozen=True)
class Contestant:
    """One way to have the same SPMs open."""

    name: str
    ready: Callable[[], AbstractContextManager[Any]]
    step: Callable[[], object]
    bare: Callable[[], object]
    lazy: bool = False
    peer: bool = False


@dataclass
class Part:
    """One model: who runs on it, and what was measured."""

    name: str
    steps: int
    contestants: list[Contestant]
    identical: bool
    visits: dict[str, list[Visit]] = field(default_factory=dict)
    peaks: dict[str, float] = field(default_factory=dict)

    def run(self, rounds: int, pairs: int, peer_pairs: int, clock: Clock) -> None:
        """Let all take turns; each step is paired with a bare one. Memory that is kept is got beforehand."""
        started = time.monotonic()
        for each in self.contestants:
            if each.name in ("safegen, 32 open", "safegen, four mixed"):
                visit(each.ready, each.step, each.bare, 1)
        for number in range(rounds):
            for each in self.contestants:
                wanted = peer_pairs if each.peer else pairs
                found = visit(each.ready, each.step, each.bare, wanted, lazy=each.lazy, clock=clock)
                self.visits.setdefault(each.name, []).append(found)
            spent = time.monotonic() - started
            print(f"{self.name}: round {number + 1} of {rounds}, {spent:.0f} s", file=sys.stderr, flush=True)

    def measure_memory(self) -> None:
        """One prompt's first step of each contestant, untimed, since it starts with no memory of its own."""

        def once(each: Contestant) -> None:
            with each.ready():
                each.step()

        self.peaks = {each.name: peak_of(lambda e=each: once(e)) for each in self.contestants}

    def to_bare(self, name: str) -> list[float]:
        """One contestant's time to the bare one's: once + steps to steps, for each pair."""
        return [
            (seen.once + self.steps * own) / (self.steps * bare)
            for seen in self.visits[name]
            for own, bare in seen.pairs
        ]

    def ratio(self, name: str, peer: str) -> float:
        """A contestant's median ratio to bare, to its peer's."""
        return statistics.median(self.to_bare(name)) / statistics.median(self.to_bare(peer))

    def rows(self) -> list[list[Any]]:
        """The table: seconds once, of a step and of the bare step beside it, ratio and its quartiles, memory."""
        found = []
        for each in self.contestants:
            seen = self.visits[each.name]
            own, bare = (statistics.median(pair[side] for one in seen for pair in one.pairs) for side in (0, 1))
            ratios = self.to_bare(each.name)
            low, _, high = statistics.quantiles(ratios, method="inclusive")
            once = statistics.median(one.once for one in seen)
            middle = statistics.median(ratios)
            peak = round(self.peaks[each.name]) if each.name in self.peaks else "-"
            found.append([each.name, len(ratios), once, own, bare, middle, f"{low:.3f}-{high:.3f}", peak])
        return found

    def in_turn(self, peer: str, counts: Sequence[int]) -> float:
        """Ratio of our mixed batch to the peer drawing the same prompts one after another.

        The peer's time for n open SPMs is that of the largest measured number that is not greater: to its advantage.
        """
        measured = [each for each in COUNTS if f"{peer}, {each} open" in self.visits]
        names = [f"{peer}, {max(each for each in measured if each <= count)} open" for count in counts]
        return self._seconds("safegen, four mixed") / sum(self._seconds(name) for name in names)

    def _seconds(self, name: str) -> float:
        seen = self.visits[name]
        step = statistics.median(own for one in seen for own, _ in one.pairs)
        return statistics.median(one.once for one in seen) + self.steps * step


def contestants(
    unet: torch.nn.Module,
    distinct: Sequence[SpmFile],
    step: Callable[[torch.nn.Module, int], object],
    *,
    steps: int,
    lazy: bool,
) -> list[Contestant]:
    """All contestants on one model; `step(unet, prompts)` runs the model for so many prompts."""
    targets = unet_targets(unet)
    installed = [distinct[number % DISTINCT] for number in range(INSTALLED)]
    touched = {name: module for name, module in targets.items() if layer_name(name) in distinct[0].layers}
    alone = twin(unet)  # a visit has membranes on the other one all the time
    peers = {"PEFT": Peft(unet, touched, distinct), "script": Released(unet, touched, distinct)}

    def ours(gammas: Sequence[float | list[float]]) -> AbstractContextManager[int]:
        spms = [Attached(spm, gamma) for spm, gamma in zip(installed, gammas, strict=True)]
        return attach(targets, spms, steps=steps)

    mixed = [list(row) for row in zip(*(open_from(*each, total=INSTALLED) for each in MIXED), strict=True)]
    one, four = lambda: step(alone, 1), lambda: step(alone, 4)
    found = []
    for count in COUNTS:
        gammas = open_from(0, count, total=INSTALLED)
        found.append(Contestant(f"safegen, {count} open", lambda g=gammas: ours(g), lambda: step(unet, 1), one))
    for name, peer in peers.items():
        for count in COUNTS:
            gammas = open_from(0, count, total=DISTINCT)
            run, ready = (lambda p=peer: step(p.unet, 1)), (lambda p=peer, g=gammas: p.attach(g))
            found.append(Contestant(f"{name}, {count} open", ready, run, one, peer=True))
    found.append(Contestant("safegen, four mixed", lambda: ours(mixed), lambda: step(unet, 4), four, lazy=lazy))
    return found


def sticker(*, steps: int) -> Part:
    """Whole pictures by the shipped base; shorter ones count as a part of one, since what is done once is done once."""
    registry = Registry.open()
    entry = registry.base("sticker")
    base = load_base(registry.folder_of(entry), digest=entry.digest)
    pipeline = base.pipeline  # type: ignore[attr-defined] # peers put their own UNet into it
    prompts = ("a dog in the style of noto", "a cat in the style of noto", "a boat", "a red car in the style of fluent")

    def draw(unet: torch.nn.Module, count: int) -> list[bytes]:
        pipeline.unet = unet
        request = DrawRequest(prompts[:count], tuple(range(count)), "", entry.size, entry.size, steps, entry.guidance)
        return [image.tobytes() for image in base.draw(request).images]

    unet = pipeline.unet
    spms = [registry.load_adapter(each.id, base=entry) for each in registry.index.adapters[:DISTINCT]]
    everyone = contestants(unet, spms, draw, steps=steps, lazy=False)
    return Part("sticker", STEPS // steps, everyone, identical=_identical(everyone))


def sd14(*, small: bool) -> Part:
    """Single steps by a UNet of SD 1.4's size, at 32 x 32 latents, guided; the small one has 3/5 of its width."""
    unet = sd14_unet(**({"block_out_channels": (192, 384, 768, 768)} if small else {}))
    generator = torch.Generator().manual_seed(0)
    side = 8 if small else 32
    latents = torch.randn(8, 4, side, side, generator=generator).contiguous(memory_format=torch.channels_last)
    states = torch.randn(8, 77, 768, generator=generator)

    @torch.no_grad()
    def step(model: torch.nn.Module, count: int) -> torch.Tensor:
        sample: torch.Tensor = model(latents[: 2 * count], 500, states[: 2 * count]).sample
        return sample

    # The script's network costs the same however many SPMs are in its sum, PEFT's nothing when disabled.
    left_out = {"PEFT, 0 open", "script, 0 open"}
    spms = random_spms(unet_targets(unet), DISTINCT)
    everyone = [each for each in contestants(unet, spms, step, steps=STEPS, lazy=True) if each.name not in left_out]
    return Part("sd14", STEPS, everyone, identical=_identical(everyone))


def _identical(everyone: Sequence[Contestant]) -> bool:
    """Whether nothing open gives the bare bits, and all ways of having 8 open agree with each other."""
    by_name = {each.name: each for each in everyone}

    def result(name: str) -> Any:
        with by_name[name].ready():
            return by_name[name].step()

    bare, ours = by_name["safegen, 0 open"].bare(), result("safegen, 0 open")
    if isinstance(bare, torch.Tensor):
        torch.testing.assert_close(result("safegen, 8 open"), result("PEFT, 8 open"), rtol=1e-3, atol=1e-3)
        return torch.equal(bare, ours)
    return bool(bare == ours)


def seconds_to_import(runs: int) -> tuple[float, bool]:
    """Median seconds of `import safegen` in a Python that is up, and whether it loads torch."""
    code = "import sys, time; t = time.perf_counter(); import safegen; t = time.perf_counter() - t"
    code += "; print(t, 'torch' in sys.modules)"
    said = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout.split()
        for _ in range(runs)
    ]
    return statistics.median(float(seconds) for seconds, _ in said), any(torch == "True" for _, torch in said)


def measured(part: str, *, quick: bool, clock: Clock) -> dict[str, Any]:
    """Run one part; its table and bars as plain data."""
    report = Report("overhead")
    if part == "import":
        seconds, torch_loaded = seconds_to_import(5 if quick else 15)
        report.at_most("import safegen", seconds, 0.2, "s")
        report.at_most("import safegen loads torch", float(torch_loaded), 0, "modules")
    elif part == "model":
        report.tables.append(overhead_ways.table(report, quick=quick))
    else:
        run = sticker(steps=7 if quick else STEPS) if part == "sticker" else sd14(small=quick)
        if not quick:
            run.measure_memory()
        run.run(*(PAIRS_QUICK if quick else PAIRS)[part], clock)
        unit = "picture" if part == "sticker" else "step"
        heads = ("who", "pairs", "once, s", f"{unit}, s", "bare, s", "ratio to bare", "quartiles", "MB")
        title = f"{part}: {run.steps} of these a prompt"
        report.tables.append((title, heads, run.rows()))
        _bars(report, run)
    return {
        "bars": [[bar.name, bar.value, bar.unit, bar.bar, bar.holds] for bar in report.bars],
        "tables": [[title, list(columns), [list(row) for row in rows]] for title, columns, rows in report.tables],
        "when": time.strftime("%Y-%m-%d %H:%M", time.gmtime()),
    }


def _bars(report: Report, run: Part) -> None:
    report.at_least(f"{run.name}: 0 open gives the bare bits", float(run.identical), 1, "yes")
    for count, bar in BARS.items():
        ratio = statistics.median(run.to_bare(f"safegen, {count} open"))
        report.at_most(f"{run.name}: {count} open / bare", ratio, bar, "ratio")
    mixed = statistics.median(run.to_bare("safegen, four mixed"))
    if run.name == "sd14":
        report.at_most("sd14: mixed batch of 4 / bare", mixed, MIXED_BAR, "ratio")
    for peer in ("PEFT", "script"):
        for count in COUNTS[1:]:
            ratio = run.ratio(f"safegen, {count} open", f"{peer}, {count} open")
            report.at_most(f"{run.name}: {count} open / {peer}", ratio, 1.0, "ratio")
        ratio = run.in_turn(peer, [count for _, count in MIXED])
        report.at_most(f"{run.name}: mixed batch of 4 / {peer}, in turn", ratio, 1.0, "ratio")


def main(
    quick: Annotated[
        bool, typer.Option(help="Few rounds, no memory; SD 1.4's UNet 3/5 as wide, on 8 x 8 latents.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON last.")] = False,
    only: Annotated[str | None, typer.Option(help="One part: sticker, sd14, import or model.")] = None,
    threads: Annotated[int, typer.Option(help="Threads, each kept on a core of its own; 0 for all cores.")] = 0,
    cpu_time: Annotated[bool, typer.Option(help="Processor time, for a machine that is not quiet.")] = False,
) -> None:
    """Measure, and keep what was measured part by part."""
    cores = sorted(os.sched_getaffinity(0))[: threads or None]
    os.sched_setaffinity(0, cores)
    torch.set_num_threads(len(cores))
    kept = keep_freed_memory()
    parts = ("import", "sticker", "sd14", "model")
    if only is not None and only not in parts:
        raise typer.BadParameter(f"the parts are {', '.join(parts)}", param_hint="--only")
    found: dict[str, Any] = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.is_file() and not quick else {}
    for part in [only] if only else parts:
        found[part] = measured(part, quick=quick, clock=time.process_time if cpu_time else time.perf_counter)
        if not quick and not cpu_time:
            KEPT.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    report = Report(
        "overhead",
        extra={"peft": peft.__version__, "threads": len(cores), "installed": INSTALLED, "freed_memory_kept": kept},
    )
    for part in (part for part in parts if part in found):
        for name, value, unit, bar, holds in found[part]["bars"]:
            report.bars.append(Bar(name, value, unit, bar, holds))
        report.tables += [
            (f"{title} ({found[part]['when']})", columns, rows) for title, columns, rows in found[part]["tables"]
        ]
    report.finish(as_json=as_json, keep=not quick and not cpu_time)


if __name__ == "__main__":
    typer.run(main)
