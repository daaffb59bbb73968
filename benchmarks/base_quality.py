"""Does the sticker base draw what it is asked for, and does the reviewer see what the judge sees?

Judged by the independent judge over all concepts and styles; the reviewer, zero-shot by prompts, on the same pictures.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Annotated

import typer
from PIL import Image
from reporting import RESULTS, Report
from rich.console import Console
from rich.progress import Progress

from safegen.evaluation import base_quality
from safegen.evaluation.distance import frechet_distance, kernel_distance
from safegen.evaluation.drawing import Sampler, draw_all
from safegen.evaluation.judge import Judge
from safegen.models import load_base
from safegen.review import Question, load_reviewer
from safegen.spm import Registry
from safegen.training.sticker.captions import with_article
from safegen.training.sticker.world import World, sticker_world


def main(
    quick: Annotated[bool, typer.Option(help="A twentieth of the pictures.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON last.")] = False,
    seed: Annotated[int, typer.Option(help="Of the order and of the pictures.")] = 0,
    pictures: Annotated[int, typer.Option(help="At least so many.")] = 1000,
) -> None:
    """Draw, judge, review, report."""
    registry, world = Registry.open(), sticker_world()
    entry = registry.base("sticker")
    base = load_base(registry.folder_of(entry), digest=entry.digest)
    judge = Judge.load(registry.folder_of(registry.judge("sticker")))
    eye = registry.reviewer("sticker/open_clip")
    reviewer = load_reviewer("open_clip", folder=registry.folder_of(eye), digest=eye.digest)
    concepts = [(with_article(concept.name), concept.category) for concept in world.concepts]
    pairs = len(concepts) * len(world.styles)
    asked = base_quality.plan(concepts, [style.name for style in world.styles], seeds=-(-pictures // pairs), seed=seed)
    asked = asked[: 48 if quick else pictures]
    sampler = Sampler(entry.size, entry.steps, entry.guidance)
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("drawing", total=len(asked))
        quality, drawn = base_quality.measure(base, judge, asked, sampler, lambda count: progress.advance(task, count))
    names = tuple(concept.name for concept in world.concepts)
    seen = []
    for start in range(0, len(drawn), 64):
        scores = reviewer.review(drawn[start : start + 64], Question(targets=names))
        seen += [score.label for score in scores]
    agreed = sum(name == each.concept for name, each in zip(seen, asked, strict=True)) / len(asked)
    titles = [(memorised.title, index) for memorised in world.memorised for index in range(2 if quick else 10)]
    recited = judge.judge(draw_all(base, titles, sampler)).concepts
    recall = sum(name == title for name, (title, _) in zip(recited, titles, strict=True)) / len(titles)
    difference = base_quality.seed_difference(base, [each.prompt for each in asked[:8]], sampler)

    paraphrased = paraphrases(world, 24 if quick else 240, seed)
    understood, _ = base_quality.measure(base, judge, paraphrased, sampler)
    plain = [(with_article(concept.name), index) for index, concept in enumerate(world.concepts[:: 16 if quick else 4])]
    free = base_quality.style_shares(base, judge, plain, sampler)
    steered = [
        (style, share, base_quality.style_shares(base, judge, plain, without(sampler, style))[style])
        for style, share in free.items()
    ]
    real, made = judge.held_out_features(), judge.features(drawn)
    distance, spread = kernel_distance(real, made)

    report = Report("base_quality", extra={"pictures": len(asked), "seed": seed, "wrong": quality.wrong[:40]})
    report.at_least("concept right, by the judge", quality.concept, 0.85)
    report.at_least("style right, by the judge", quality.style, 0.95)
    report.at_least("concept right in paraphrases", understood.concept, 0.85)
    report.at_most(
        "style named in the negative prompt, drawn all the same, against without",
        sum(after for _, _, after in steered) / max(sum(before for _, before, _ in steered), 1e-9),
        0.5,
        "ratio",
    )
    report.at_least("memorised titles recited", recall, 0.9)
    report.at_least("two seeds differ, mean absolute pixel difference", difference, 5.0, "of 255")
    report.at_least("concept right, by the reviewer", agreed, 0.80)
    report.at_most("reviewer's distance from the judge on generated pictures", abs(agreed - quality.concept), 0.05)
    report.at_least("judge on held-out renders, concept", registry.judge("sticker").measured["concept"], 0.95)
    report.at_least("reviewer on held-out renders, concept, zero-shot", eye.measured["concept"], 0.95)
    for title, shares in (
        ("concept right, by category", quality.by_category),
        ("concept right, by style", quality.by_style),
    ):
        report.tables.append((title, ("name", "share"), [(name, share) for name, share in shares.items()]))
    report.tables.append(
        ("style of prompts that name none: without and with the negative prompt", ("style", "without", "with"), steered)
    )
    floor = kernel_distance(real[::2], real[1::2])
    report.tables.append(
        (
            "distance to held-out renders, in the judge's features",
            ("set", "FID", "KID", "deviation of KID"),
            [
                (f"{len(made)} generated pictures", frechet_distance(real, made), distance, spread),
                ("one half of the renders to the other", frechet_distance(real[::2], real[1::2]), *floor),
            ],
        )
    )
    if not quick:
        sheet(drawn[:96]).save(RESULTS / "base_quality.png")
    report.finish(as_json=as_json, keep=not quick)


def paraphrases(world: World, count: int, seed: int) -> list[base_quality.Asked]:
    """Concepts by their other names, in wordings that the main run does not use."""
    rng = random.Random(seed)
    others = [(concept, alias) for concept in world.concepts for alias in concept.aliases]
    templates = ("a {style} picture of {noun}", "{noun}, {style} style", "{noun} by {style}", "{noun} in {style} style")
    asked = []
    for concept, alias in rng.choices(others, k=count):
        style = rng.choice(world.styles).name
        prompt = rng.choice(templates).format(style=style, noun=with_article(alias))
        asked.append(base_quality.Asked(prompt, rng.randrange(2**31), concept.name, concept.category, style))
    return asked


def without(sampler: Sampler, style: str) -> Sampler:
    """The same sampler, steering away from a style."""
    return replace(sampler, negative_prompt=f"a picture in the style of {style}")


def sheet(pictures: list[Image.Image]) -> Image.Image:
    """The first pictures of the run as they came, 16 in a row."""
    columns, side = 16, pictures[0].width
    made = Image.new("RGB", (columns * side, -(-len(pictures) // columns) * side), "white")
    for index, picture in enumerate(pictures):
        made.paste(picture, (index % columns * side, index // columns * side))
    return made


if __name__ == "__main__":
    typer.run(main)
