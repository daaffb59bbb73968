"""The zero-shot reviewer, on a tiny CLIP with random weights."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from safegen.errors import ReviewError
from safegen.review import Question, ReviewFailure, Scores, run_review
from safegen.review.open_clip_reviewer import OpenClipReviewer
from safegen.review.vocabulary import Vocabulary

SIDE = 32
MODEL: dict[str, Any] = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": SIDE, "layers": 1, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 32, "vocab_size": 514, "width": 32, "heads": 2, "layers": 1},
}
WORDS = {
    "concepts": {"cat": ["a cat", "a kitten"], "dog": ["a dog"], "pencil": ["a pencil"]},
    "styles": {"pencil": ["pencil"], "neon": ["neon", "neon light"]},
    "memorised": {"The Midnight Carousel": ["the midnight carousel"]},
    "templates": {"concept": ["{}", "a picture of {}"], "style": ["a picture in the style of {}"]},
}
COLOURS = [Image.new("RGB", (SIDE, SIDE), colour) for colour in ("red", "white", "navy")]


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reviewer's folder in open_clip's format."""
    from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg

    folder = tmp_path_factory.mktemp("reviewer")
    torch.manual_seed(0)
    model = CLIP(MODEL["embed_dim"], CLIPVisionCfg(**MODEL["vision_cfg"]), CLIPTextCfg(**MODEL["text_cfg"]))
    state = {name: value.contiguous() for name, value in model.state_dict().items() if name != "attn_mask"}
    save_file(state, folder / "open_clip_model.safetensors")
    preprocessing = {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.25, 0.3]}
    config = {"model_cfg": MODEL, "preprocess_cfg": preprocessing}
    (folder / "open_clip_config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "bpe.txt.gz").write_bytes(gzip.compress(b"#version: 0.2"))
    (folder / "vocabulary.json").write_text(json.dumps(WORDS), encoding="utf-8")
    return folder


@pytest.fixture
def folder(shipped: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(shipped, tmp_path / "reviewer"))


@pytest.fixture(scope="module")
def reviewer(shipped: Path) -> OpenClipReviewer:
    """The reviewer, loaded."""
    return OpenClipReviewer.load(shipped, digest="sha256:" + "1" * 64)


def best(reviewer: OpenClipReviewer, images: list[Image.Image], target: str) -> list[float]:
    """The score of one target for each image."""
    return [scores.all[target] for scores in reviewer.review(images, Question((target,)))]


def by_hand(reviewer: OpenClipReviewer, image: Image.Image, classes: list[list[str]]) -> list[float]:
    """Zero-shot probabilities of classes, each a list of prompts, straight from the formula."""
    model, tokenizer = reviewer._model, reviewer._tokenizer
    pixels = torch.tensor(list(image.convert("RGB").tobytes())).view(SIDE, SIDE, 3) / 255
    pixels = ((pixels - torch.tensor([0.5, 0.4, 0.3])) / torch.tensor([0.2, 0.25, 0.3])).permute(2, 0, 1)[None]
    with torch.no_grad():
        look = torch.nn.functional.normalize(model.encode_image(pixels), dim=-1)[0]
        logits = []
        for prompts in classes:
            texts = torch.nn.functional.normalize(model.encode_text(tokenizer(prompts)), dim=-1)
            logits.append(model.logit_scale.exp() * torch.nn.functional.cosine_similarity(look, texts.mean(0), dim=0))
        return torch.stack(logits).softmax(0).tolist()


CONCEPTS = [
    ["a cat", "a picture of a cat", "a kitten", "a picture of a kitten"],
    ["a dog", "a picture of a dog"],
    ["a pencil", "a picture of a pencil"],
]


def test_a_concepts_score_is_its_probability_among_all_concepts(reviewer: OpenClipReviewer) -> None:
    """Softmax of scale times cosine with the mean of the class's prompts, as computed by hand."""
    expected = by_hand(reviewer, COLOURS[0], CONCEPTS)
    assert best(reviewer, COLOURS[:1], "cat") == pytest.approx([expected[0]], abs=1e-5)
    assert best(reviewer, COLOURS[:1], "A Kitten") == pytest.approx([expected[0]], abs=1e-5)
    assert best(reviewer, COLOURS[:1], "dog") == pytest.approx([expected[1]], abs=1e-5)


def test_an_unlisted_word_is_one_more_concept(reviewer: OpenClipReviewer) -> None:
    """It competes with all concepts through the same templates, and its text is embedded once."""
    expected = by_hand(reviewer, COLOURS[0], [*CONCEPTS, ["a submarine", "a picture of a submarine"]])
    assert best(reviewer, COLOURS[:1], "a submarine") == pytest.approx([expected[-1]], abs=1e-5)
    assert list(reviewer._unlisted) == ["a submarine"]


def test_a_title_competes_with_the_concepts(reviewer: OpenClipReviewer) -> None:
    """One title among concepts is not certain of itself."""
    title = ["the midnight carousel", "a picture of the midnight carousel"]
    expected = by_hand(reviewer, COLOURS[0], [*CONCEPTS, title])
    assert best(reviewer, COLOURS[:1], "the midnight carousel") == pytest.approx([expected[-1]], abs=1e-5)


def test_a_word_with_two_meanings_scores_as_the_likelier(reviewer: OpenClipReviewer) -> None:
    """A pencil in the picture counts, and so does a picture in pencil."""
    styles = [[f"a picture in the style of {word}" for word in words] for words in (["pencil"], ["neon", "neon light"])]
    as_concept, as_style = by_hand(reviewer, COLOURS[0], CONCEPTS)[2], by_hand(reviewer, COLOURS[0], styles)[0]
    assert best(reviewer, COLOURS[:1], "pencil") == pytest.approx([max(as_concept, as_style)], abs=1e-5)


def test_images_are_reviewed_alike_alone_and_together(reviewer: OpenClipReviewer) -> None:
    """A batch gives what its images give one by one, in order."""
    together = best(reviewer, COLOURS, "cat")
    alone = [best(reviewer, [image], "cat")[0] for image in COLOURS]
    assert together == pytest.approx(alone, abs=1e-5)
    assert len({round(score, 4) for score in together}) == 3
    assert reviewer.review([], Question(("cat",))) == []


def test_nothing_at_the_edge_of_a_long_picture_is_overlooked(reviewer: OpenClipReviewer) -> None:
    """A picture of another shape is squeezed, not cropped."""
    plain = Image.new("RGB", (SIDE, 2 * SIDE), "white")
    marked = plain.copy()
    marked.paste((0, 0, 0), (0, 0, SIDE, SIDE // 4))
    assert best(reviewer, [plain], "cat") != pytest.approx(best(reviewer, [marked], "cat"), abs=1e-4)


def test_scores_pass_as_an_answer(reviewer: OpenClipReviewer) -> None:
    """`run_review` accepts them, known and unknown words together, whatever the picture's mode."""
    question = Question(("cat", "neon", "a submarine"))
    answers = run_review(reviewer, [image.convert(mode) for image in COLOURS for mode in ("L", "RGBA", "P")], question)
    assert all(isinstance(each, Scores) and set(each.all) == set(question.targets) for each in answers)


def test_a_question_without_targets_is_a_failure(reviewer: OpenClipReviewer) -> None:
    """Being asked about nothing is no clean bill."""
    assert isinstance(run_review(reviewer, COLOURS[:1], Question())[0], ReviewFailure)


def test_a_temperature_of_the_vocabulary_replaces_the_models_scale(folder: Path) -> None:
    """A scale near zero makes all classes equally likely."""
    (folder / "vocabulary.json").write_text(json.dumps(WORDS | {"temperature": 1e-6}), encoding="utf-8")
    assert best(OpenClipReviewer.load(folder), COLOURS[:1], "cat") == pytest.approx([1 / 3], abs=1e-4)


def test_the_digest_is_the_given_one_or_the_folders(reviewer: OpenClipReviewer, folder: Path) -> None:
    """Whoever resolved the folder has checked its digest already; else it is taken from the files."""
    assert reviewer.digest == "sha256:" + "1" * 64
    first = OpenClipReviewer.load(folder).digest
    (folder / "vocabulary.json").write_text(json.dumps(WORDS, indent=1), encoding="utf-8")
    assert OpenClipReviewer.load(folder).digest != first


@pytest.mark.parametrize("file", sorted(["open_clip_config.json", "open_clip_model.safetensors", "bpe.txt.gz"]))
def test_a_folder_without_one_of_its_files_is_an_error(folder: Path, file: str) -> None:
    """Above all without weights, where open_clip itself would go on with random ones."""
    (folder / file).unlink()
    with pytest.raises(ReviewError, match=f"lacks {file}"):
        OpenClipReviewer.load(folder)


def test_a_pickle_in_place_of_safetensors_is_not_loaded(folder: Path) -> None:
    """Weights in torch's own format do not count as weights."""
    (folder / "open_clip_model.safetensors").rename(folder / "open_clip_pytorch_model.bin")
    with pytest.raises(ReviewError, match=r"lacks open_clip_model\.safetensors"):
        OpenClipReviewer.load(folder)


@pytest.mark.parametrize("file", sorted(["open_clip_config.json", "open_clip_model.safetensors", "bpe.txt.gz"]))
def test_a_damaged_file_is_an_error(folder: Path, file: str) -> None:
    """Whatever open_clip raises becomes a `ReviewError` that names the folder."""
    (folder / file).write_bytes(b"damaged")
    with pytest.raises(ReviewError, match="cannot open the reviewer"):
        OpenClipReviewer.load(folder)


def test_weights_that_are_not_the_whole_model_are_an_error(folder: Path) -> None:
    """A missing tensor is not replaced by a random one."""
    from safetensors.torch import load_file

    state = load_file(folder / "open_clip_model.safetensors")
    del state["visual.proj"]
    save_file(state, folder / "open_clip_model.safetensors")
    with pytest.raises(ReviewError, match="cannot open the reviewer"):
        OpenClipReviewer.load(folder)


def test_no_folder_is_an_error_with_a_hint() -> None:
    """A base model without a reviewer of its own says what the registry lacks."""
    with pytest.raises(ReviewError, match="registry needs a reviewer"):
        OpenClipReviewer.load(None)


def test_a_model_that_gives_nan_is_a_failure(shipped: Path) -> None:
    """A broken network withholds instead of scoring."""
    broken = OpenClipReviewer.load(shipped)
    with torch.no_grad():
        broken._model.visual.proj.fill_(float("nan"))
    vocabulary = Vocabulary.read(shipped / "vocabulary.json")
    assert vocabulary.meanings("pencil")
    answers = run_review(broken, COLOURS[:1], Question(("pencil",)))
    assert isinstance(answers[0], ReviewFailure)
