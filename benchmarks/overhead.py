"""What safegen's membranes cost beside the bare pipeline, diffusers with PEFT, and the SPM authors' script.

1,000 SPMs are installed, and 0, 1, 8 or 32 of them are open for a prompt; or four prompts with different open sets
stand in one batch. Contestants take turns; each is compared with a bare run right before or after its own, since a
machine's speed drifts; peers join every few rounds. The sticker base draws whole pictures under SPMs of its zoo. On the
UNet of SD 1.4's size, SPMs have a layer for every target, as the paper's have; one step and what is done once for a
prompt are timed separately, since 20 steps would take a minute; the ratio is that of once + 20 steps to 20 bare steps,
without text encoder and decoder, which would make it smaller. Memory is what a visit adds at its peak to what is there.
The gate's own time is not in here; gate.py has it.

    python benchmarks/overhead.py                  everything; about 9 minutes on two quiet cores
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
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Annotated, Any

import overhead_ways
import peft
import torch
import typer
from overhead_models import Clock, Timed, open_from, random_spms, sd14_unet, timed, with_peak
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


@dataclass(frozen=True)
class Contestant:
    """One way to have the same SPMs open."""

    name: str
    ready: Callable[[], AbstractContextManager[Any]]
    step: Callable[[], object]
    bare: str
    lazy: bool = False
    peer: bool = False


Turn = dict[str, tuple[Timed, Timed]]
"""What each contestant took in one round, and what the bare run beside it took."""


@dataclass
class Part:
    """One model: who runs on it, and what was measured."""

    name: str
    steps: int
    contestants: list[Contestant]
    identical: bool
    peers_every: int
    rounds: list[Turn] = field(default_factory=list)
    peaks: dict[str, float] = field(default_factory=dict)

    def total(self, timed_: Timed) -> float:
        """Seconds of one prompt (or batch)."""
        return timed_.once + self.steps * timed_.step

    def to_bare(self, name: str) -> list[float]:
        """One contestant's time to that of the bare run beside it, in each round that it took part in."""
        pairs = [turn[name] for turn in self.rounds if name in turn]
        return [self.total(own) / self.total(bare) for own, bare in pairs]

    def ratio(self, name: str, peer: str) -> float:
        """Median over rounds of one contestant's time to a peer's, each by the bare run beside it."""
        both = [turn for turn in self.rounds if peer in turn]
        return statistics.median(self._relative(turn, name) / self._relative(turn, peer) for turn in both)

    def _relative(self, turn: Turn, name: str) -> float:
        own, bare = turn[name]
        return self.total(own) / self.total(bare)

    def run(self, rounds: int, budget_s: float, clock: Clock) -> None:
        """Let all take turns, in an order that shifts, for so many rounds or until the time is used up."""
        started = time.monotonic()
        by_name = {each.name: each for each in self.contestants}
        for number in range(rounds):
            turn: Turn = {}
            for each in self.contestants[number % 3 :] + self.contestants[: number % 3]:
                if each.peer and number % self.peers_every:
                    continue
                pair = [by_name[each.bare], each][:: 1 if number % 2 else -1]
                visits = {one is each: self._visit(one, clock) for one in pair}
                turn[each.name] = visits[True], visits.get(False, visits[True])
            self.rounds.append(turn)
            spent = time.monotonic() - started
            print(f"{self.name}: round {number + 1}, {spent:.0f} s", file=sys.stderr, flush=True)
            if number >= 2 and spent * (number + 2) / (number + 1) > budget_s:
                break

    def _visit(self, each: Contestant, clock: Clock) -> Timed:
        found, peak = with_peak(lambda: timed(each.ready, each.step, lazy=each.lazy, clock=clock))
        self.peaks[each.name] = max(peak, self.peaks.get(each.name, 0.0))
        return found

    def rows(self) -> list[list[Any]]:
        """The table: seconds once and a step, the ratio to bare, and memory at the peak beyond what was there."""
        found = []
        for each in self.contestants:
            visits = [turn[each.name][0] for turn in self.rounds if each.name in turn]
            once, step = (statistics.median(getattr(one, what) for one in visits) for what in ("once", "step"))
            ratios = sorted(self.to_bare(each.name))
            spread = f"{ratios[0]:.3f}-{ratios[-1]:.3f}"
            peak = round(self.peaks[each.name])
            found.append([each.name, len(visits), once, step, statistics.median(ratios), spread, peak])
        return found

    def in_turn(self, peer: str, counts: Sequence[int]) -> float:
        """Median ratio of our mixed batch to the peer drawing the same prompts one after another.

        The peer's time for n open SPMs is that of the largest measured number that is not greater: to its advantage.
        """
        both = [turn for turn in self.rounds if f"{peer}, {COUNTS[-1]} open" in turn]
        measured = [each for each in COUNTS if f"{peer}, {each} open" in both[0]]
        names = [f"{peer}, {max(each for each in measured if each <= count)} open" for count in counts]
        return statistics.median(
            self.total(turn["safegen, four mixed"][0]) / sum(self.total(turn[name][0]) for name in names)
            for turn in both
        )


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
    peers = {"PEFT": Peft(unet, touched, distinct), "script": Released(unet, touched, distinct)}

    def ours(gammas: Sequence[float | list[float]]) -> AbstractContextManager[int]:
        spms = [Attached(spm, gamma) for spm, gamma in zip(installed, gammas, strict=True)]
        return attach(targets, spms, steps=steps)

    mixed = [list(row) for row in zip(*(open_from(*each, total=INSTALLED) for each in MIXED), strict=True)]
    found = [Contestant("bare", nullcontext, lambda: step(unet, 1), "bare")]
    for count in COUNTS:
        gammas = open_from(0, count, total=INSTALLED)
        found.append(Contestant(f"safegen, {count} open", lambda g=gammas: ours(g), lambda: step(unet, 1), "bare"))
    for name, peer in peers.items():
        for count in COUNTS:
            gammas = open_from(0, count, total=DISTINCT)
            run, ready = (lambda p=peer: step(p.unet, 1)), (lambda p=peer, g=gammas: p.attach(g))
            found.append(Contestant(f"{name}, {count} open", ready, run, "bare", peer=True))
    found.append(Contestant("bare, four", nullcontext, lambda: step(unet, 4), "bare, four"))
    found.append(Contestant("safegen, four mixed", lambda: ours(mixed), lambda: step(unet, 4), "bare, four", lazy=lazy))
    return found


def sticker(*, steps: int) -> Part:
    """Whole pictures by the shipped base."""
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
    return Part("sticker", 1, everyone, identical=_identical(everyone), peers_every=5)


def sd14(*, small: bool) -> Part:
    """Single steps by a UNet of SD 1.4's size, at 32 x 32 latents, with guidance."""
    unet = sd14_unet()
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
    return Part("sd14", STEPS, everyone, identical=_identical(everyone), peers_every=3)


def _identical(everyone: Sequence[Contestant]) -> bool:
    """Whether nothing open gives the bare bits, and all ways of having 8 open agree with each other."""
    by_name = {each.name: each for each in everyone}

    def result(name: str) -> Any:
        with by_name[name].ready():
            return by_name[name].step()

    bare, ours = result("bare"), result("safegen, 0 open")
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
        run = sticker(steps=6 if quick else STEPS) if part == "sticker" else sd14(small=quick)
        rounds, budget_s = (2, 20.0) if quick else (25, 200.0) if part == "sticker" else (9, 330.0)
        run.run(rounds, budget_s, clock)
        heads = (
            "who",
            "runs",
            "once, s",
            f"{'picture' if part == 'sticker' else 'step'}, s",
            "ratio to bare",
            "range",
            "MB",
        )
        title = f"{part}: {len(run.rounds)} rounds, {run.steps} of these a prompt"
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
    quick: Annotated[bool, typer.Option(help="Few rounds; SD 1.4's UNet on 8 x 8 latents.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON last.")] = False,
    only: Annotated[str | None, typer.Option(help="One part: sticker, sd14, import or model.")] = None,
    threads: Annotated[int, typer.Option(help="Threads, each kept on a core of its own; 0 for all cores.")] = 0,
    cpu_time: Annotated[bool, typer.Option(help="Processor time, for a machine that is not quiet.")] = False,
) -> None:
    """Measure, and keep what was measured part by part."""
    cores = sorted(os.sched_getaffinity(0))[: threads or None]
    os.sched_setaffinity(0, cores)
    torch.set_num_threads(len(cores))
    parts = ("import", "sticker", "sd14", "model")
    if only is not None and only not in parts:
        raise typer.BadParameter(f"the parts are {', '.join(parts)}", param_hint="--only")
    found: dict[str, Any] = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.is_file() and not quick else {}
    for part in [only] if only else parts:
        found[part] = measured(part, quick=quick, clock=time.process_time if cpu_time else time.perf_counter)
        if not quick and not cpu_time:
            KEPT.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    report = Report("overhead", extra={"peft": peft.__version__, "threads": len(cores), "installed": INSTALLED})
    for part in (part for part in parts if part in found):
        for name, value, unit, bar, holds in found[part]["bars"]:
            report.bars.append(Bar(name, value, unit, bar, holds))
        report.tables += [
            (f"{title} ({found[part]['when']})", columns, rows) for title, columns, rows in found[part]["tables"]
        ]
    report.finish(as_json=as_json, keep=not quick and not cpu_time)


if __name__ == "__main__":
    typer.run(main)
