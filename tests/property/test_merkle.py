"""The Merkle tree against the recursive definition of the RFC, and forgeries of its proofs."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safegen.ledger.merkle import (
    EMPTY_ROOT,
    Tree,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    verify_consistency,
    verify_inclusion,
)

LEAVES = [leaf_hash(bytes([number])) for number in range(130)]


def naive_root(leaves: list[bytes]) -> bytes:
    """MTH of RFC 9162, section 2.1.1, as it is written there."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return hashlib.sha256(b"\x01" + naive_root(leaves[:split]) + naive_root(leaves[split:])).digest()


def naive_path(index: int, leaves: list[bytes]) -> list[bytes]:
    """PATH of RFC 9162, section 2.1.3.1."""
    if len(leaves) == 1:
        return []
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    if index < split:
        return [*naive_path(index, leaves[:split]), naive_root(leaves[split:])]
    return [*naive_path(index - split, leaves[split:]), naive_root(leaves[:split])]


def naive_subproof(old: int, leaves: list[bytes], known: bool) -> list[bytes]:
    """SUBPROOF of RFC 9162, section 2.1.4.1."""
    if old == len(leaves):
        return [] if known else [naive_root(leaves)]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    if old <= split:
        return [*naive_subproof(old, leaves[:split], known), naive_root(leaves[split:])]
    return [*naive_subproof(old - split, leaves[split:], False), naive_root(leaves[:split])]


def tree_of(size: int) -> Tree:
    tree = Tree()
    for leaf in LEAVES[:size]:
        tree.append(leaf)
    return tree


@st.composite
def leaf_in_tree(draw: st.DrawFn) -> tuple[int, int]:
    size = draw(st.integers(1, len(LEAVES)))
    return draw(st.integers(0, size - 1)), size


@st.composite
def tree_in_tree(draw: st.DrawFn) -> tuple[int, int]:
    size = draw(st.integers(1, len(LEAVES)))
    return draw(st.integers(1, size)), size


@given(st.integers(0, len(LEAVES)), st.integers(0, len(LEAVES)))
def test_root_is_that_of_the_definition(size: int, grown: int) -> None:
    """The root over any number of leaves, then or later, is the one that the RFC defines."""
    tree = tree_of(max(size, grown))
    assert tree.root(size) == naive_root(LEAVES[:size])


@given(leaf_in_tree())
def test_inclusion_proof_is_that_of_the_definition(case: tuple[int, int]) -> None:
    """Inclusion proofs are those of the RFC, and verify."""
    index, size = case
    proof = inclusion_proof(tree_of(len(LEAVES)).node, index, size)
    assert proof == naive_path(index, LEAVES[:size])
    assert verify_inclusion(LEAVES[index], index, size, proof, naive_root(LEAVES[:size]))


@given(tree_in_tree())
def test_consistency_proof_is_that_of_the_definition(case: tuple[int, int]) -> None:
    """Consistency proofs are those of the RFC, and verify."""
    old, new = case
    proof = consistency_proof(tree_of(new).node, old, new)
    assert proof == naive_subproof(old, LEAVES[:new], True)
    assert verify_consistency(old, new, naive_root(LEAVES[:old]), naive_root(LEAVES[:new]), proof)


def forged_proofs(proof: list[bytes], bit: int) -> dict[str, list[bytes]]:
    """Every named way of spoiling a proof that applies to it."""
    flipped = {
        f"bit flip in hash {place}": [
            *proof[:place],
            bytes(byte ^ (1 << bit % 8) if at == bit // 8 else byte for at, byte in enumerate(step)),
            *proof[place + 1 :],
        ]
        for place, step in enumerate(proof)
    }
    swapped = {
        f"swapped at {place}": [*proof[:place], proof[place + 1], proof[place], *proof[place + 2 :]]
        for place in range(len(proof) - 1)
    }
    cut = {"truncated": proof[:-1], "beheaded": proof[1:], "short hash": [*proof[:-1], proof[-1][:31]]} if proof else {}
    longer = {
        "trailing garbage": [*proof, bytes(32)],
        "leading garbage": [bytes(32), *proof],
        "empty hash": [*proof, b""],
    }
    return {**flipped, **swapped, **cut, **longer}


@given(leaf_in_tree(), st.integers(0, 255))
def test_forged_inclusion_is_refused(case: tuple[int, int], bit: int) -> None:
    """No spoilt path, index, size, leaf or root passes for an inclusion."""
    index, size = case
    leaf, root = LEAVES[index], naive_root(LEAVES[:size])
    proof = naive_path(index, LEAVES[:size])
    for name, forged in forged_proofs(proof, bit).items():
        assert not verify_inclusion(leaf, index, size, forged, root), name
    for wrong in (index - 1, index + 1, index + size, -1):
        assert not verify_inclusion(leaf, wrong, size, proof, root)
    assert not verify_inclusion(leaf, index, 2 * size, proof, root)
    assert not verify_inclusion(leaf, index, 0, proof, root)
    assert not verify_inclusion(leaf_hash(b"other"), index, size, proof, root)
    assert not verify_inclusion(leaf, index, size, proof, EMPTY_ROOT)
    assert not verify_inclusion(leaf, index, size, proof, root[:-1])


@given(tree_in_tree(), st.integers(0, 255))
def test_forged_consistency_is_refused(case: tuple[int, int], bit: int) -> None:
    """No spoilt proof, size or root passes for an extension."""
    old, new = case
    old_root, new_root = naive_root(LEAVES[:old]), naive_root(LEAVES[:new])
    proof = naive_subproof(old, LEAVES[:new], True)
    for name, forged in forged_proofs(proof, bit).items():
        assert not verify_consistency(old, new, old_root, new_root, forged), name
    assert not verify_consistency(old, new, EMPTY_ROOT, new_root, proof)
    assert not verify_consistency(old, new, old_root, EMPTY_ROOT, proof)
    assert not verify_consistency(new + 1, new, old_root, new_root, proof)
    assert not verify_consistency(-1, new, old_root, new_root, proof)
    if old < new:
        assert not verify_consistency(old, new, new_root, old_root, proof)
        assert not verify_consistency(old, old, old_root, new_root, [])


def test_inner_nodes_cannot_pass_for_leaves() -> None:
    """The prefixes of leaves and nodes keep their hashes apart (second preimage)."""
    assert leaf_hash(LEAVES[0] + LEAVES[1]) != node_hash(LEAVES[0], LEAVES[1])


def test_empty_tree_is_extended_by_any() -> None:
    """From the empty tree there is nothing to prove, and only its own root counts."""
    root = naive_root(LEAVES[:3])
    assert consistency_proof(tree_of(3).node, 0, 3) == []
    assert verify_consistency(0, 3, EMPTY_ROOT, root, [])
    assert not verify_consistency(0, 3, root, root, [])
    assert not verify_consistency(0, 3, EMPTY_ROOT, root, [bytes(32)])


def test_impossible_proofs_are_a_misuse() -> None:
    """Asking for a leaf or an extension that cannot be is a ValueError."""
    with pytest.raises(ValueError, match="is not in a tree"):
        inclusion_proof(tree_of(3).node, 3, 3)
    with pytest.raises(ValueError, match="cannot extend"):
        consistency_proof(tree_of(3).node, 3, 2)


def test_appending_reads_few_nodes() -> None:
    """A leaf is appended with at most log2(n) hashes read."""
    tree = tree_of(127)
    assert len(tree.append(LEAVES[127])) == 8
