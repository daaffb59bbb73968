"""The choice between the ways of applying an update."""

from __future__ import annotations

from dataclasses import replace

from safegen.spm.cost import Work, cheaper

SHALLOW = Work(inputs=320, outputs=320, vectors=8 * 1024, terms=32, groups=4, runs=8, own_terms=8)
DEEP = Work(inputs=1280, outputs=10240, vectors=8 * 16, terms=32, groups=4, runs=8, own_terms=8)


def test_many_vectors_through_a_small_weight_are_grouped_and_few_through_a_large_one_stacked() -> None:
    """SD 1.4's outermost and innermost layers, for a mixed batch of four with guidance."""
    assert cheaper(SHALLOW, steps=20) == "grouped"
    assert cheaper(DEEP, steps=20) == "sparse"


def test_a_single_step_does_not_pay_for_large_weights() -> None:
    """With one step to go, copying a large weight costs more than the thin product."""
    work = Work(inputs=1280, outputs=1280, vectors=2 * 256, terms=1, groups=1, runs=1, own_terms=1)
    assert cheaper(work, steps=1) != "grouped"
    assert cheaper(work, steps=50) == "grouped"


def test_more_terms_never_speak_for_the_stack() -> None:
    """The cost of the thin product grows with its rank, that of grouped weights does not."""
    work = replace(DEEP, vectors=8 * 64)
    ways = [cheaper(replace(work, terms=each, own_terms=each), steps=20) for each in (1, 8, 64, 512, 4096)]
    assert ways == sorted(ways, reverse=True)
    assert set(ways) == {"grouped", "stacked"}


def test_terms_that_act_on_few_rows_are_added_there_alone_unless_the_model_is_tiny() -> None:
    """Leaving out closed terms saves sums and costs operations."""
    work = Work(inputs=1280, outputs=1280, vectors=8 * 64, terms=32, groups=4, runs=8, own_terms=8)
    assert cheaper(work, steps=20) == "sparse"
    assert cheaper(replace(work, inputs=96, outputs=96, vectors=8 * 16), steps=20) == "stacked"
