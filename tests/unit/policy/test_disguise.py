"""Words in disguise, and words that are none."""

from __future__ import annotations

import time

import pytest

from safegen.policy.phrases import PhraseIndex

INDEX = PhraseIndex(
    (phrase, phrase) for phrase in ("naked", "gun", "sex", "van gogh", "boob", "assault rifle", "cunt", "rapist")
)


def found(prompt: str) -> set[str]:
    return {meaning for _, _, meaning in INDEX.read(prompt).found}


def texts(prompt: str) -> list[str]:
    reading = INDEX.read(prompt)
    return [prompt[reading.words[first].start : reading.words[last].end] for first, last, _ in reading.found]


@pytest.mark.parametrize(
    "prompt",
    [
        "n4k3d",
        "N@KED!",
        "n a k e d",
        "a n a k e d woman",
        "n.a.k.e.d",
        "n-a_k*e/d",
        "na-ked",
        "n aked",
        "nake d",
        "naaaaked",
        "nnaakkeedd",
        "n 4 k e d",
        "n @ k 3 d",
        "n\u0430k\u0435d",
        "\u03b7aked",
        "\U0001f1f3\U0001f1e6\U0001f1f0\U0001f1ea\U0001f1e9",
        "\U0001f15d\U0001f150\U0001f15a\U0001f154\U0001f153",
        "\u0274\u1d00\u1d0b\u1d07\u1d05",
        "n\u0336a\u0336k\u0336e\u0336d\u0336",
        "n[ake]d",
        "na(ke:1.3)d",
        "n\u200ba\u202ek\u2066ed",
        "<lora:naked_v2:0.8>",
        "1girl,naked,8k",
        "[cat:naked:0.5]",
        "na ked",
        "n aked woman",
        "na BREAK ked",
        "n * k e d",
        "n*ked",
        "n * a * k * e * d",
        "a n a k e d w o m a n",
        "|\\|/\\|<e|)",
        "n@k\xa3d",
        "p\u01dd\u029e\u0250u",
        "\u202edekan\u202c",
        "n\u20dda\u20ddk\u20dde\u20ddd\u20dd",
        "&#110;a&#x6b;ed",
        "n%61k%65d",
        "n\u0653a\u05b0ked",
        "(naked)1.3",
        "naked::2",
        "n+a+k+e+d",
        "n@a@k@e@d",
        "n~a,k|e.d",
        "\u0578\u13aa\u13e6\u13ac\u056a",
    ],
)
def test_disguises_of_a_word_are_seen_through(prompt: str) -> None:
    """Swapped, spaced, punctuated, repeated, look-alike and weighted letters are read as the word that they show."""
    assert "naked" in found(prompt)


@pytest.mark.parametrize(
    "prompt",
    [
        "v a n g o g h",
        "v a n  g o g h",
        "vangogh",
        "#VanGogh",
        "van-gogh",
        "van BREAK gogh",
        "van <lora:film:0.8> gogh",
        "(van:1.2) (gogh:0.8)",
        "v4n g0gh",
    ],
)
def test_disguises_of_a_phrase_are_seen_through(prompt: str) -> None:
    """What parts or joins the words of a phrase does not hide it."""
    assert found(prompt) == {"van gogh"}


@pytest.mark.parametrize(
    "prompt",
    [
        "Essex, Sussex and Scunthorpe",
        "E s s e x",
        "E.s.s.e.x",
        "a van",
        "a van and a gogh",
        "Bob in a boot",
        "Ann Gunn",
        "begun",
        "therapist",
        "an assault on a rifle range",
        "6 unicorns",
        "A B C",
        "J. R. R. Tolkien",
        "35mm f/1.8, 8k",
        "69",
        "s, e and x",
        "the pen is on us",
        "a rap e-zine",
        "s e s s e x",
        "i n e s s e x",
        "a gunmetal car",
        "gin and tonic",
        "nasi goreng",
        "2*3 = 6",
        "c*t",
        "exes",
        "R&B",
        "100%",
        "^_^",
        "Al and an ox",
    ],
)
def test_ordinary_words_are_left_alone(prompt: str) -> None:
    """Words that hold, resemble or abbreviate a forbidden one are not taken for it."""
    assert found(prompt) == set()


def test_the_span_covers_the_disguise() -> None:
    """What is reported is what stands in the prompt, from the first to the last letter."""
    assert texts("so N\u0301 a k-3 d, (van:1.2) <lora:x:1> gogh!") == ["N\u0301 a k-3 d", "van:1.2) <lora:x:1> gogh"]


def test_words_of_a_tag_come_last_and_point_into_it() -> None:
    """A match inside a tag has its span there."""
    assert texts("a <lora:naked:1> tree") == ["naked"]


def test_break_in_capitals_is_a_word() -> None:
    """`BREAK` is prompt syntax only where the rest is not in capitals too."""
    index = PhraseIndex([("break dance", 1)])
    assert index.read("BREAK DANCE").found
    assert not index.read("a BREAK dance").found


@pytest.mark.parametrize(
    "prompt",
    [
        " :1" * 1300,
        ": 1 " * 1000,
        "a.b" * 1300,
        "ab-" * 1300,
        "n a " * 1000,
        "a" * 4000,
        "<lora:a:1>" * 400,
        "(a:1.1)" * 570,
        "a\u0301" * 2000,
        "1l!|" * 1000,
        "sex " * 1000,
        "BREAK " * 600 + "x",
        "*" * 4000,
        "a*" * 2000,
        "na*ed " * 600,
        "/\\" * 2000,
        "/\\|" * 1300,
        "(" * 4000,
        "(a)1 " * 800,
        "&amp;" * 800,
        "&#38;#38;#38;" * 300,
        "%41" * 1300,
        "\u202e" * 4000,
        "\u01dd " * 2000,
        "n a k e d w o m a n " * 200,
        "na ke " * 600,
    ],
    ids=lambda prompt: prompt[:10],
)
def test_no_prompt_of_the_longest_length_takes_long(prompt: str) -> None:
    """Whatever 4,000 characters hold, they are read in a fraction of a second."""
    started = time.process_time()
    INDEX.read(prompt)
    assert time.process_time() - started < 1
