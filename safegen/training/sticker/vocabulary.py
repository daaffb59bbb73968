"""The sticker world as evaluation sees it: subjects with their nouns, styles and titles."""

from __future__ import annotations

from safegen.evaluation.vocabulary import Subject, Vocabulary
from safegen.training.sticker.captions import with_article
from safegen.training.sticker.world import World


def vocabulary_of(world: World) -> Vocabulary:
    """All that the world names."""
    return Vocabulary(
        concepts=tuple(
            Subject(each.name, with_article(each.name), each.category, each.aliases) for each in world.concepts
        ),
        styles=tuple(style.name for style in world.styles),
        titles=tuple(each.title for each in world.memorised),
        backgrounds=tuple(world.backgrounds),
    )
