"""Loading: the golden diagnostics, the limits and the digest."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from safegen.errors import PolicyError, PolicySemanticError, PolicySyntaxError
from safegen.policy import DiagnosedSyntaxError, load_policy, load_policy_file
from safegen.policy.document import LARGEST_FILE
from tests.unit.policy.conftest import erase, policy_of

ROOT = Path(__file__).parents[3]
GOLDEN = ROOT / "tests" / "golden" / "policy"
DEFAULT = (ROOT / "policies" / "default.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.yaml")), ids=lambda path: path.stem)
def test_diagnostics_read_as_agreed(path: Path) -> None:
    """The message for a broken policy is the stored text; UPDATE_GOLDEN=1 renews it."""
    with pytest.raises(PolicyError) as caught:
        load_policy(path.read_text(encoding="utf-8"), source=path.name)
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
        "",
        "--- a\n--- b",
    ],
    ids=range(13),
)
def test_hostile_text_is_a_syntax_error(text: str | bytes) -> None:
    """Bombs, broken encodings and odd YAML end in a typed error with at least one diagnostic."""
    with pytest.raises(DiagnosedSyntaxError) as caught:
        load_policy(text, source="hostile.yaml")
    assert caught.value.diagnostics
    str(caught.value).encode()


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
