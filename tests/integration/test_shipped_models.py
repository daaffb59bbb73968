"""The shipped weights open with the libraries that they are made for."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from safegen.evaluation.drawing import Sampler, draw_all
from safegen.evaluation.judge import Judge
from safegen.models import BaseModel, load_base
from safegen.review import Question, load_reviewer
from safegen.spm import Attached, Registry


@pytest.mark.parametrize("name", ["sticker", "watercolour", "dusk"])
def test_the_bases_open_as_stable_diffusion_pipelines(registry: Registry, name: str) -> None:
    """diffusers opens each folder as it is; all parts together are at most 40 MB, in half precision."""
    from diffusers import StableDiffusionPipeline

    folder = registry.folder_of(registry.base(name))
    pipeline = StableDiffusionPipeline.from_pretrained(folder, safety_checker=None)
    pipeline.set_progress_bar_config(disable=True)
    picture = pipeline("a cat", num_inference_steps=2, generator=torch.Generator().manual_seed(0)).images[0]
    assert picture.size == (64, 64)
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) <= 40_000_000


def test_no_path_of_the_training_machine_ships(registry: Registry) -> None:
    """Neither in configurations nor in the adapters' metadata."""
    texts = [path.read_text(encoding="utf-8") for path in registry.folder.rglob("*.json")]
    spms = [registry.load_adapter(entry.id, base=registry.base(entry.base)) for entry in registry.index.adapters]
    texts += [value for spm in spms for value in spm.metadata.values()]
    assert not [text for text in texts if "_name_or_path" in text or "/root/" in text or "/home/" in text]


def test_every_adapter_states_the_base_that_ships(registry: Registry) -> None:
    """In its file as in the index, so that training again finds it finished."""
    for entry in registry.index.adapters:
        base = registry.base(entry.base)
        spm = registry.load_adapter(entry.id, base=base)
        assert base.digest == entry.base_digest == spm.metadata["base_digest"]


def test_all_modules_of_the_base_that_spms_act_on_are_found(base: BaseModel) -> None:
    """Seven transformers of twelve layers each."""
    assert len(base.targets()) == 84


def test_the_reviewer_opens_in_open_clip_and_reads_like_the_base(registry: Registry) -> None:
    """open_clip opens the folder as it is, and both tokenizers give the same ids up to end-of-text."""
    import open_clip
    from open_clip.tokenizer import SimpleTokenizer
    from transformers import CLIPTokenizer

    folder = registry.folder_of(registry.reviewer("sticker/open_clip"))
    model, _, _ = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    assert model.encode_image(torch.zeros(1, 3, 64, 64)).shape == (1, 128)
    text = "a cat in the style of stained glass, blue background"
    ours = CLIPTokenizer.from_pretrained(registry.folder / registry.base("sticker").path / "tokenizer")(text).input_ids
    theirs = SimpleTokenizer(str(folder / "bpe.txt.gz"), context_length=32)([text])[0].tolist()
    assert theirs[: len(ours)] == ours


def test_the_reviewer_gives_probabilities_and_accepts_words_that_it_was_not_shipped_with(registry: Registry) -> None:
    """Scores of known and unknown targets alike are in 0..1."""
    entry = registry.reviewer("sticker/open_clip")
    reviewer = load_reviewer("open_clip", folder=registry.folder_of(entry), digest=entry.digest)
    scores = reviewer.review([Image.new("RGB", (64, 64), "red")], Question(("cat", "neon", "a submarine")))[0]
    assert set(scores.all) == {"cat", "neon", "a submarine"}
    assert all(0 <= score <= 1 for score in scores.all.values())


@pytest.mark.parametrize("name", ["sticker/cat", "sticker/neon"])
def test_shipped_adapters_fit_the_base(registry: Registry, base: BaseModel, name: str) -> None:
    """Every layer of the file has its module, none is left over."""
    spm = registry.load_adapter(name, base=registry.base("sticker"))
    layers = [layer.name for layer in spm.resolve(base.targets())]
    assert layers == [name for name in base.targets() if name.endswith(("attn2.to_k", "attn2.to_v"))]
    assert Path(registry.folder / registry.adapter(name).recipe).is_file()


def test_the_judge_names_what_the_base_draws(registry: Registry, base: BaseModel) -> None:
    """Six prompts, each with another concept and style: at most one is misread in either."""
    asked = [("fox", "noto"), ("robot", "fluent"), ("castle", "pixel art"), ("guitar", "pencil"),
             ("mermaid", "stained glass"), ("rocket", "neon")]  # fmt: skip
    prompts = [(f"a {concept} in the style of {style}", 3) for concept, style in asked]
    judge = Judge.load(registry.folder_of(registry.judge("sticker")))
    seen = judge.judge(draw_all(base, prompts, Sampler()))
    assert sum(got == concept for got, (concept, _) in zip(seen.concepts, asked, strict=True)) >= 5
    assert sum(got == style for got, (_, style) in zip(seen.styles, asked, strict=True)) >= 5


def test_the_judge_ships_features_of_held_out_renders(registry: Registry) -> None:
    """Two renders of every pair of concept and style, as its last layer reads them."""
    judge = Judge.load(registry.folder_of(registry.judge("sticker")))
    assert judge.held_out_features().shape == (2 * (len(judge.concepts) - 4) * len(judge.styles), 192)


@pytest.mark.parametrize("name", ["watercolour", "dusk"])
def test_an_spm_acts_on_a_base_that_it_was_not_trained_on(registry: Registry, name: str) -> None:
    """The cat that a fine-tuned base draws is gone under the sticker base's SPM, and back when it is taken off."""
    entry = registry.base(name)
    tuned = load_base(registry.folder_of(entry), digest=entry.digest)
    judge = Judge.load(registry.folder_of(registry.judge("sticker")))
    prompts = [(f"a cat in the style of {style}", seed) for seed, style in enumerate(judge.styles)]
    spm = Attached(registry.load_adapter("sticker/cat", base=entry), gamma=1.0)
    before = draw_all(tuned, prompts, Sampler(steps=10))
    erased = draw_all(tuned, prompts, Sampler(steps=10), spms=[spm])
    assert judge.judge(before).concepts.count("cat") >= len(prompts) - 1
    assert "cat" not in judge.judge(erased).concepts
    assert draw_all(tuned, prompts, Sampler(steps=10))[0].tobytes() == before[0].tobytes()
