"""Words that people use as they are: what tells a disguise from a word that only looks like another.

They are the American and British word lists of SCOWL, names included, up to 16 letters.

Invariant: the lists are read once and never change.
"""

from __future__ import annotations

import gzip
from functools import cache
from importlib.resources import files

_SHORTEST_LISTED = 3
_SHORT_WORDS = frozenset(
    word
    for line in (
        "a ad ah ai al am an ar as at ax be by de di dj do dr du ed eh el em en er et eu ex fa fx",
        "gi go ha hd he hi hm ho i id if ii il in is it iv jr la le lo ma me mr ms mt my no ny of",
        "oh ok on op or os ow ox oz pa pc pi re sf sh so st ta ti to tv uh uk un up us vi vr vs we",
        "xi xl ye yo",
    )
    for word in line.split()
)


def is_ordinary(word: str) -> bool:
    """Whether a word is an English one, or a name, that people use as it is."""
    if len(word) < _SHORTEST_LISTED:
        return word in _SHORT_WORDS
    return word in _listed()


@cache
def _listed() -> frozenset[str]:
    folder = files("safegen.policy")
    listed = gzip.decompress(folder.joinpath("ordinary_words.txt.gz").read_bytes()).decode("ascii").split()
    more = folder.joinpath("doubled_words.txt").read_text(encoding="utf-8").splitlines()
    return frozenset(listed).union(*(line.split() for line in more if not line.startswith("#")))
