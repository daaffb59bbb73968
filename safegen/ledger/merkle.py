"""The Merkle tree of RFC 9162 (the same tree as RFC 6962), over SHA-256.

Invariants: only complete subtrees are ever stored, as nodes (level, index): the hash over the leaves
``index * 2**level`` to ``(index + 1) * 2**level``. A stored node never changes, so the tree is append-only by nature,
and every function here reads O(log n) nodes for roots and appends and O(log^2 n) for proofs.

A tree is anything that answers `NodeReader`; `Tree` is the one in memory. Proofs are checked without any tree.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hmac import compare_digest

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()
"""Root of the tree without leaves (RFC 9162, section 2.1.1)."""

NodeReader = Callable[[int, int], bytes]
"""Gives the hash of the complete subtree at (level, index)."""


@dataclass(frozen=True, slots=True)
class Node:
    """The hash of one complete subtree."""

    level: int
    index: int
    hash: bytes


def leaf_hash(data: bytes) -> bytes:
    """Hash of a leaf: SHA-256(0x00 || data) (RFC 9162, section 2.1.1)."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of an inner node: SHA-256(0x01 || left || right) (RFC 9162, section 2.1.1)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def completed_nodes(read: NodeReader, size: int, leaf: bytes) -> list[Node]:
    """The nodes that the leaf hash `leaf` completes when appended to a tree of `size` leaves, leaf first."""
    nodes = [Node(0, size, leaf)]
    while nodes[-1].index % 2 == 1:
        last = nodes[-1]
        parent = node_hash(read(last.level, last.index - 1), last.hash)
        nodes.append(Node(last.level + 1, last.index // 2, parent))
    return nodes


def root(read: NodeReader, size: int) -> bytes:
    """Root over the first `size` leaves (RFC 9162, section 2.1.1)."""
    return _range_hash(read, 0, size) if size else EMPTY_ROOT


def inclusion_proof(read: NodeReader, index: int, size: int) -> list[bytes]:
    """Proof that leaf `index` is in the tree of `size` leaves, from the leaf's sibling up (RFC 9162, section 2.1.3.1).

    Raises:
        ValueError: if there is no such leaf.
    """
    if not 0 <= index < size:
        raise ValueError(f"leaf {index} is not in a tree of {size} leaves")
    path: list[bytes] = []
    start, stop = 0, size
    while stop - start > 1:
        split = start + _largest_power_below(stop - start)
        if index < split:
            path.append(_range_hash(read, split, stop))
            stop = split
        else:
            path.append(_range_hash(read, start, split))
            start = split
    return path[::-1]


def consistency_proof(read: NodeReader, old_size: int, new_size: int) -> list[bytes]:
    """Proof that the tree of `new_size` leaves extends the one of `old_size` (RFC 9162, section 2.1.4.1).

    Empty if the sizes are equal or the old tree is empty, as there is nothing to prove then.

    Raises:
        ValueError: if the old tree is larger than the new one.
    """
    if not 0 <= old_size <= new_size:
        raise ValueError(f"a tree of {new_size} leaves cannot extend one of {old_size}")
    if old_size in {0, new_size}:
        return []
    path: list[bytes] = []
    start, stop, known = 0, new_size, True
    while stop != old_size:
        split = start + _largest_power_below(stop - start)
        if old_size <= split:
            path.append(_range_hash(read, split, stop))
            stop = split
        else:
            path.append(_range_hash(read, start, split))
            start, known = split, False
    if not known:
        path.append(_range_hash(read, start, stop))
    return path[::-1]


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root_hash: bytes) -> bool:
    """Whether `proof` shows that the leaf hash is leaf `index` of the tree (RFC 9162, section 2.1.3.2)."""
    if not 0 <= index < size or not _all_hashes(leaf, root_hash, *proof):
        return False
    position, last, computed = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return False
        if position % 2 == 1 or position == last:
            computed = node_hash(sibling, computed)
            while position % 2 == 0 and position != 0:
                position, last = position // 2, last // 2
        else:
            computed = node_hash(computed, sibling)
        position, last = position // 2, last // 2
    return last == 0 and compare_digest(computed, root_hash)


def verify_consistency(old_size: int, new_size: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether `proof` shows that the new tree extends the old one (RFC 9162, section 2.1.4.2)."""
    if not 0 <= old_size <= new_size or not _all_hashes(old_root, new_root, *proof):
        return False
    if old_size == new_size:
        return not proof and compare_digest(old_root, new_root)
    if old_size == 0:
        return not proof and compare_digest(old_root, EMPTY_ROOT)
    if not proof:
        return False
    return _replay_consistency(old_size, new_size, old_root, new_root, proof)


def _replay_consistency(old_size: int, new_size: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """Compute both roots from the proof and compare (steps 2 to 8 of RFC 9162, section 2.1.4.2)."""
    path = list(proof) if old_size & (old_size - 1) else [old_root, *proof]
    position, last = old_size - 1, new_size - 1
    while position % 2 == 1:
        position, last = position // 2, last // 2
    old_computed = new_computed = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if position % 2 == 1 or position == last:
            old_computed = node_hash(sibling, old_computed)
            new_computed = node_hash(sibling, new_computed)
            while position % 2 == 0 and position != 0:
                position, last = position // 2, last // 2
        else:
            new_computed = node_hash(new_computed, sibling)
        position, last = position // 2, last // 2
    return last == 0 and compare_digest(old_computed, old_root) and compare_digest(new_computed, new_root)


def _largest_power_below(count: int) -> int:
    """The largest power of two that is smaller than `count`, for `count` > 1."""
    return 1 << ((count - 1).bit_length() - 1)


def _range_hash(read: NodeReader, start: int, stop: int) -> bytes:
    """Hash over the leaves from `start` to `stop`, folding complete subtrees from the right.

    `start` is a multiple of the largest power of two within the range, as it always is within the tree of the RFC.
    """
    hashes: list[bytes] = []
    while start < stop:
        level = (stop - start).bit_length() - 1
        hashes.append(read(level, start >> level))
        start += 1 << level
    folded = hashes.pop()
    while hashes:
        folded = node_hash(hashes.pop(), folded)
    return folded


def _all_hashes(*values: bytes) -> bool:
    return all(len(value) == HASH_BYTES for value in values)


class Tree:
    """A tree in memory that grows by O(log n) work for each leaf."""

    def __init__(self) -> None:
        self._levels: list[list[bytes]] = [[]]

    @property
    def size(self) -> int:
        """Number of leaves."""
        return len(self._levels[0])

    def append(self, leaf: bytes) -> list[Node]:
        """Add a leaf hash; gives the nodes that it completed, leaf first."""
        nodes = completed_nodes(self.node, self.size, leaf)
        for node in nodes:
            if node.level == len(self._levels):
                self._levels.append([])
            self._levels[node.level].append(node.hash)
        return nodes

    def node(self, level: int, index: int) -> bytes:
        """The hash of the complete subtree at (level, index)."""
        return self._levels[level][index]

    def root(self, size: int | None = None) -> bytes:
        """Root over the first `size` leaves, all by default."""
        return root(self.node, self.size if size is None else size)


class Frontier:
    """The right edge of a growing tree: O(log n) hashes, whatever its size."""

    def __init__(self) -> None:
        self.size = 0
        self._edge: list[bytes] = []

    def append(self, leaf: bytes) -> list[bytes]:
        """Add a leaf hash; gives the hashes of the subtrees above it that it completes, lowest first."""
        size = self.size
        if not size & 1:
            self._edge.append(leaf)
            self.size = size + 1
            return []
        completed: list[bytes] = []
        while size & 1:
            leaf = hashlib.sha256(b"\x01" + self._edge.pop() + leaf).digest()
            completed.append(leaf)
            size >>= 1
        self._edge.append(leaf)
        self.size += 1
        return completed

    def root(self) -> bytes:
        """Root over all leaves so far."""
        if not self._edge:
            return EMPTY_ROOT
        folded = self._edge[-1]
        for left in reversed(self._edge[:-1]):
            folded = node_hash(left, folded)
        return folded
