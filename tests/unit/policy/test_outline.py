"""Places of the parts of a text."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import yaml

from safegen.policy import nodes
from safegen.policy.nodes import Place
from safegen.policy.outline import Outline

TEXT = "a: 1\nlist:\n  - {x: 1, y: [2, 3]}\n  - z\n'last one': {\n  k: v}\n"
PLACES = {
    ((), False): Place(0, 0),
    (("a",), False): Place(0, 3),
    (("a",), True): Place(0, 0),
    (("list", 0), False): Place(2, 4, 17),
    (("list", 0, "y"), True): Place(2, 11),
    (("list", 0, "y", 1), False): Place(2, 18),
    (("list", 0, "y", 1), True): Place(2, 14, 6),
    (("list", 0, "missing"), False): Place(2, 4, 17),
    (("list", 1), False): Place(3, 4),
    (("list", 7, "x"), False): Place(2, 2),
    (("last one",), True): Place(4, 0, 10),
    (("last one",), False): Place(4, 12),
    (("last one", "k"), False): Place(5, 5),
}


@pytest.mark.parametrize("at_once", [1, 3, 1000])
def test_places_do_not_depend_on_how_much_was_read_before(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each part has its one place, whether asked for first, last, or with nothing read ahead."""
    monkeypatch.setattr(nodes, "_AT_ONCE", at_once)
    for order in (list(PLACES), list(reversed(PLACES))):
        outline = Outline(yaml.parse(TEXT, yaml.SafeLoader))
        assert {one: outline.place(one[0], on_key=one[1]) for one in order} == PLACES
    for (path, on_key), place in PLACES.items():
        assert Outline(yaml.parse(TEXT, yaml.SafeLoader)).place(path, on_key=on_key) == place


def test_a_part_at_the_top_is_found_without_reading_the_rest() -> None:
    """Of a long text, no more is read than the place asks for."""
    read = SimpleNamespace(events=0)

    def events() -> object:
        for event in yaml.parse("a: 1\n" + "- x\n".join(["list:\n", *[""] * 10_000]), yaml.CSafeLoader):
            read.events += 1
            yield event

    assert Outline(events()).place(("a",), on_key=True) == Place(0, 0)
    assert read.events <= 1000
