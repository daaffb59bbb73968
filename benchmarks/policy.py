"""The policy engine: disguises caught, captions left alone, decisions a second, a huge policy, hostile files.

Speeds are in seconds of processor time on one core, so that other work on the machine does not count; the wall-clock
time of the check is shown beside it.
"""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer
from policy_disguises import disguised, disguised_twice
from policy_hostile import hostile
from policy_prompts import PHRASES, SCUNTHORPE_LIST, captions, evasions
from reporting import RESULTS, Report

from safegen.errors import PolicyError
from safegen.policy import Policy, PromptRequest, decide, load_policy

LETTERS = "abcdefghijklmnopqrstuvwxyz"


def policy_of(lists: Sequence[Sequence[str]]) -> Policy:
    """A policy with one refuse rule for each list of phrases."""
    rules = [
        {"id": f"rule-{at}", "match": {"phrases": list(phrases)}, "action": "refuse", "reason": "Not here."}
        for at, phrases in enumerate(lists)
    ]
    head = {"apiVersion": "safegen/v1", "kind": "Policy", "id": "benchmark", "version": 1, "base": "sticker"}
    return Policy.model_validate({**head, "rules": rules})


def made_up(draw: random.Random) -> str:
    """A phrase of one or two words that nobody uses."""
    return " ".join("".join(draw.choices(LETTERS, k=draw.randint(4, 9))) for _ in range(draw.randint(1, 2)))


def unused(draw: random.Random, words: frozenset[str]) -> str:
    """A made-up phrase that holds none of these words."""
    return next(phrase for phrase in iter(lambda: made_up(draw), "") if words.isdisjoint(phrase.split()))


def large_policy(rules: int, each: int, apart: frozenset[str] = frozenset()) -> Policy:
    """A policy of that many rules with that many phrases each; the forbidden phrases are spread among them.

    None of the other phrases holds a word of `apart`: of 100,000 phrases of random letters, many are by chance words of
    the prompts, which are then hit more often, whatever it costs to search.
    """
    draw = random.Random(3)
    lists = [[unused(draw, apart) for _ in range(each)] for _ in range(rules)]
    for at, phrase in enumerate(PHRASES):
        lists[at % rules][0 if at < rules else 1] = phrase
    return policy_of(lists)


def touched(policy: Policy, prompt: str) -> bool:
    """Whether any rule touches the prompt."""
    return decide(policy, PromptRequest(prompt=prompt)).action != "allow"


def evasion_suite(report: Report, policy: Policy, each: int) -> None:
    """Two makers of disguises that share nothing, and two techniques of the second one after the other."""
    asked = 0
    suites = (
        ("disguises", evasions(each=each), 0.99),
        ("disguises of a second maker", disguised(PHRASES, each=each), 0.99),
        ("two techniques in turn", disguised_twice(PHRASES, count=2000 * each), 0.95),
    )
    for title, suite, bar in suites:
        count, share = caught(report, policy, title, suite)
        asked += count
        report.at_least(f"{title} caught", share, bar)
    report.at_least("variants in the evasion suites", asked, 5000, "prompts")


def caught(report: Report, policy: Policy, title: str, suite: Iterable[tuple[str, str, str]]) -> tuple[int, float]:
    """How many disguises there are, and which share of them is seen through; one row a technique."""
    asked, found, missed = Counter[str](), Counter[str](), dict[str, str]()
    total = hits = 0
    for name, phrase, prompt in suite:
        hit = any(match.phrase == phrase for match in decide(policy, PromptRequest(prompt=prompt)).matches)
        total, hits = total + 1, hits + hit
        for technique in name.split(" + "):
            asked[technique] += 1
            found[technique] += hit
            if not hit:
                missed.setdefault(technique, f"{phrase}: {prompt!r}"[:100])
    rows = [(name, asked[name], found[name], found[name] / asked[name], missed.get(name, "")) for name in asked]
    report.tables.append((title, ("technique", "variants", "caught", "share", "first one missed"), rows))
    return total, hits / total


def benign_suite(report: Report, policy: Policy, prompts: Sequence[str]) -> None:
    rows: list[Sequence[Any]] = []
    both = 0
    for name, suite in (("captions", prompts), ("Scunthorpe list", SCUNTHORPE_LIST)):
        wrong = [prompt for prompt in suite if touched(policy, prompt)]
        both += len(wrong)
        rows.append((name, len(suite), len(wrong), f"{len(wrong) / len(suite):.3%}", "; ".join(wrong[:5])))
    report.tables.append(("ordinary prompts", ("suite", "prompts", "touched", "share", "which"), rows))
    report.at_least("ordinary prompts asked", len(prompts), 20_000, "prompts")
    report.at_most("ordinary prompts touched", both / (len(prompts) + len(SCUNTHORPE_LIST)), 0.001)


def rate(policy: Policy, prompts: Sequence[str]) -> float:
    """Decisions a second of processor time, once the index is there."""
    requests = [PromptRequest(prompt=prompt) for prompt in prompts]
    decide(policy, PromptRequest(prompt="builds the index"))
    started = time.process_time()
    for request in requests:
        decide(policy, request)
    return len(requests) / (time.process_time() - started)


def cost(policy: Policy, prompts: Sequence[str]) -> float:
    """Microseconds of processor time a prompt, the better of two rounds, as other work on the machine slows each."""
    return 1e6 / max(rate(policy, prompts), rate(policy, prompts))


def speed(report: Report, prompts: Sequence[str], *, quick: bool) -> None:
    policy = large_policy(200, 25)
    started = time.process_time()
    decide(policy, PromptRequest(prompt="warm"))
    built = time.process_time() - started
    draw = random.Random(5)
    novel = [" ".join("".join(draw.choices(LETTERS, k=draw.randint(3, 9))) for _ in range(11)) for _ in range(5000)]
    disguised = [prompt for _, _, prompt in evasions(each=1, seed=9)]
    first, mixed = rate(policy, prompts), rate(policy, prompts)
    rows = [
        ("captions, first time", first),
        ("captions, words seen before", mixed),
        ("nothing but words never seen before", rate(policy, novel)),
        ("nothing but disguised forbidden phrases", rate(policy, disguised)),
    ]
    report.tables.append(
        ("200 rules, 5,000 phrases", ("prompts", "decisions/s"), [(one, int(two)) for one, two in rows])
    )
    report.at_least("decisions, 200 rules and 5,000 phrases", first, 20_000, "prompts/s")
    sizes = (100, 1000, 10_000) if quick else (100, 1000, 10_000, 100_000)
    said = frozenset(word for prompt in prompts[:3000] for word in re.findall("[a-z]+", prompt.lower()))
    by_size = [(size, cost(large_policy(max(1, size // 25), 25, said), prompts[:3000])) for size in sizes]
    lengths = [10, 20, 40, 80, 160, 320]
    by_length = [(length, 1e6 / rate(policy, [_long(prompts, at, length) for at in range(400)])) for length in lengths]
    report.tables.append(("cost by number of phrases", ("phrases", "microseconds a prompt"), list(by_size)))
    report.tables.append(("cost by length", ("words in the prompt", "microseconds a prompt"), list(by_length)))
    report.at_most("cost of the most phrases against the fewest", by_size[-1][1] / by_size[0][1], 2.0, "times")
    report.extra["index built"] = built
    if not quick:
        plot(by_size, by_length)


def _long(prompts: Sequence[str], at: int, words: int) -> str:
    return " ".join(" ".join(prompts[at * 30 : at * 30 + words // 6 + 2]).split()[:words])


def plot(by_size: Sequence[tuple[int, float]], by_length: Sequence[tuple[int, float]]) -> None:
    """Keep both costs as a picture."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), sharey=False)
    left.plot(*zip(*by_size, strict=True), marker="o")
    left.set(xscale="log", ylim=0, xlabel="phrases in the policy", ylabel="microseconds a prompt", title="by policy")
    right.plot(*zip(*by_length, strict=True), marker="o")
    right.set(ylim=0, xlim=0, xlabel="words in the prompt", ylabel="microseconds a prompt", title="by prompt")
    figure.tight_layout()
    figure.savefig(RESULTS / "policy.png", dpi=100)


def check_of_a_huge_policy(report: Report) -> None:
    """The command, in a process of its own, with torch out of reach."""
    draw = random.Random(4)
    lines = ["apiVersion: safegen/v1", "kind: Policy", "id: huge", "version: 1", "base: sticker", "rules:"]
    for at in range(10_000):
        phrases = ", ".join(made_up(draw) for _ in range(10))
        lines += [f"  - id: rule-{at}", "    match:", f"      phrases: [{phrases}]", "    action: refuse"]
        lines += ["    reason: Not here."]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "huge.yaml")
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        code = "import sys; sys.modules['torch'] = None; from safegen.cli import main; main()"
        command = [sys.executable, "-c", code, "policy", "check", str(path)]
        results = []
        for _ in range(3):
            started, before = time.perf_counter(), os.times()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            after = os.times()
            spent = after.children_user - before.children_user + after.children_system - before.children_system
            results.append((spent, time.perf_counter() - started))
        size = path.stat().st_size / 1e6
    rows = [(f"{size:.1f} MB", spent, wall) for spent, wall in results]
    title = "`safegen policy check`, 10,000 rules and 100,000 phrases, torch absent"
    report.tables.append((title, ("file", "processor seconds", "wall seconds"), rows))
    report.at_most("check of 10,000 rules and 100,000 phrases, best of 3", min(results)[0], 2.0, "processor seconds")


def seconds_to_read(text: bytes) -> float:
    """Processor seconds until there is a policy or a typed error; anything else fails."""
    started = time.process_time()
    with suppress(PolicyError):
        load_policy(text, source="hostile.yaml")
    return time.process_time() - started


def hostile_files(report: Report, *, quick: bool) -> None:
    """Files of 1 MB that try to keep the reader busy: each read three times, the best time kept."""
    tries = 1 if quick else 3
    files = hostile(1 << 20, every=5 if quick else 1)
    spent = {name: min(seconds_to_read(text) for _ in range(tries)) for name, text in files}
    slowest = sorted(spent.items(), key=lambda one: -one[1])
    rows = [(name, f"{seconds:.2f}") for name, seconds in (slowest[:5] if quick else slowest)]
    report.tables.append((f"{len(spent)} hostile files of 1 MB", ("file", "processor seconds"), rows))
    report.at_most("slowest hostile file of 1 MB", slowest[0][1], 1.0, "processor seconds")


def main(
    *,
    quick: Annotated[bool, typer.Option(help="Fewer variants, no plot, nothing kept.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON last.")] = False,
) -> None:
    """Run all five."""
    report = Report("policy")
    prompts = captions(20_000)
    policy = policy_of([[phrase] for phrase in PHRASES])
    evasion_suite(report, policy, 2 if quick else 5)
    benign_suite(report, policy, prompts)
    speed(report, prompts, quick=quick)
    check_of_a_huge_policy(report)
    hostile_files(report, quick=quick)
    report.finish(as_json=as_json, keep=not quick)
    if not all(bar.holds for bar in report.bars):
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
