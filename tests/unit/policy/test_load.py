"""Loading: the golden diagnostics, the limits and the digest."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
import yaml
from ruamel.yaml import YAML

from safegen.errors import PolicyError, PolicySemanticError, PolicySyntaxError
from safegen.policy import DiagnosedSyntaxError, load_policy, load_policy_file
from safegen.policy.document import LARGEST_FILE, read_document
from safegen.policy.nodes import Builder, plain_data, tree
from tests.unit.policy.conftest import erase, policy_of

ROOT = Path(__file__).parents[3]
GOLDEN = ROOT / "tests" / "golden" / "policy"
DEFAULT = (ROOT / "policies" / "default.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.yaml")), ids=lambda path: path.stem)
def test_diagnostics_read_as_agreed(path: Path) -> None:
    """The message for a broken policy is the stored text; UPDATE_GOLDEN=1 renews it."""
    with pytest.raises(PolicyError) as caught:
        load_policy(path.read_bytes(), source=path.name, read=lambda name: (GOLDEN / name).read_bytes())
    stored = path.with_suffix(".txt")
    if os.environ.get("UPDATE_GOLDEN") == "1":
        stored.write_text(f"{caught.value}\n", encoding="utf-8")
    assert f"{caught.value}\n" == stored.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "text",
    [
        b"\xff\xfe",
        b"id: \xc3",
        "id: a\0b",
        "id: \ud800",
        'id: "\\ud800"',
        "[" * 100_000,
        "&a [*a]",
        "%YAML 1.1\n---\na: 1",
        "? [a]\n: b",
        "version: 0x" + "f" * 9000,
        "x" * (LARGEST_FILE + 1),
        b"{a: " * 300_000,
        "- &a" * 300_000,
        "a: b\n" * 200_000,
        "'" + "x" * 1_000_000,
        "a: *nothing",
        "? " * 100_000,
        "",
        "--- a\n--- b",
    ],
    ids=range(19),
)
def test_hostile_text_is_a_syntax_error(text: str | bytes) -> None:
    """Bombs, broken encodings and odd YAML end within seconds in a typed error with at least one diagnostic."""
    started = time.process_time()
    with pytest.raises(DiagnosedSyntaxError) as caught:
        load_policy(text, source="hostile.yaml")
    assert caught.value.diagnostics
    str(caught.value).encode()
    assert time.process_time() - started < 5


def test_kinds_of_error_are_told_apart() -> None:
    """A file with only impossible statements is a semantic error; anything misshapen makes it a syntax error."""
    impossible = (GOLDEN / "impossible.yaml").read_text(encoding="utf-8")
    with pytest.raises(PolicySemanticError):
        load_policy(impossible, source="x")
    with pytest.raises(PolicySyntaxError):
        load_policy(impossible + "colour: red\n", source="x")


def test_a_missing_file_is_a_policy_error(tmp_path: Path) -> None:
    """A file that cannot be read is named in a typed error."""
    with pytest.raises(PolicyError, match="cannot read the policy"):
        load_policy_file(tmp_path / "none.yaml")


def test_layout_does_not_change_the_digest() -> None:
    """Comments and white space leave the digest alone, a changed word does not."""
    policy = load_policy(DEFAULT, source="default")
    assert load_policy(f"# note\n{DEFAULT}\n\n", source="other").digest == policy.digest
    assert load_policy(DEFAULT.replace("kitten", "pussycat"), source="other").digest != policy.digest


def test_a_changed_copy_is_checked_and_has_its_own_digest() -> None:
    """`model_copy` cannot make an inconsistent policy, nor keep a stale digest."""
    policy = policy_of(erase())
    assert policy.model_copy(update={"version": 2}).digest != policy.digest
    with pytest.raises(ValueError, match="no concept"):
        policy.model_copy(update={"concepts": ()})


TRICKY = """
extra: [{b: [1, 010, 0x1f, 0o17, 1_000, 1e3, -.5, .inf, no, true, ~, 2026-02-01, 'x', '1', "\\t"], c: }, {}, []]
"""


def test_all_ways_of_reading_agree() -> None:
    """The quick pass, the one with places and an independent YAML 1.2 parser give the same data."""
    text = DEFAULT + TRICKY
    quick = plain_data(yaml.parse(text, yaml.SafeLoader))
    assert quick is not None
    by_other = YAML(typ="safe", pure=True).load(text.replace("2026-02-01", "'2026-02-01'"))
    assert Builder(tree(yaml.parse(text, yaml.SafeLoader))).data == quick[0] == by_other


def test_aliases_are_read_with_care() -> None:
    """Text with aliases is not for the quick pass, and reads like the text written out."""
    document = read_document("a: &a [1, {b: c}]\nd: [*a, *a]\n", "x")
    assert plain_data(yaml.parse("a: &a [1]", yaml.SafeLoader)) is None
    assert document.data == {"a": [1, {"b": "c"}], "d": [[1, {"b": "c"}]] * 2}


def test_a_large_broken_file_is_reported_in_time() -> None:
    """Of three thousand rules with a mistake in each, the first five hundred are listed, and it says so."""
    rules = "".join(f"  - {{id: r{at}, match: {{phrases: [gun]}}, action: refuse}}\n" for at in range(3000))
    with pytest.raises(DiagnosedSyntaxError) as caught:
        load_policy(DEFAULT[: DEFAULT.index("rules:")] + "rules:\n" + rules, source="x")
    assert len(caught.value.diagnostics) == 500
    assert str(caught.value).startswith("x: 500 problems or more")


PRODUCT = 1500
HOSTILE = {
    "empty rules": "rules:\n" + "  - {}\n" * 20_000,
    "numbers for rules": "rules: [" + "1," * 50_000 + "]\n",
    "too many values": "rules: [" + "1," * 300_001 + "]\n",
    "unknown names": "rules:\n"
    + "".join(f"  - {{id: r{at}, match: {{concepts: [z{at}]}}, action: review}}\n" for at in range(3000)),
    "rules by concepts": "concepts:\n"
    + "".join(f"  - {{name: c{at}, category: a, phrases: [p]}}\n" for at in range(PRODUCT))
    + "rules:\n"
    + "".join(f"  - {{id: r{at}, match: {{categories: [a]}}, action: erase}}\n" for at in range(PRODUCT)),
    "files": "rules: []\nextends: [" + ",".join(f"a{at}.yaml" for at in range(20_000)) + "]\n",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_no_kind_of_mistake_is_listed_without_end(name: str) -> None:
    """However often a mistake is made, and however many rules name however many concepts, the list ends."""

    def read(_: str) -> bytes:
        raise OSError("not here")

    head = "apiVersion: safegen/v1\nkind: Policy\nid: a\nversion: 1\nbase: sticker\n"
    with pytest.raises(PolicyError) as caught:
        load_policy(head + HOSTILE[name], source="x", read=read)
    assert 0 < len(caught.value.diagnostics) <= 1000
