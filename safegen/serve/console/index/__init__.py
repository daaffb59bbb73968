"""The console's query index: a derived, disposable database that makes a large ledger quick to look through.

Invariants: the ledger is only ever read; the index holds nothing that the records do not say in the clear, so sealed
text never enters it; it can be deleted at any time and is rebuilt from the ledger, also by itself when it is stale,
damaged, of another ledger, or when the ledger was pruned. It is believed in nothing: the page of a request reads the
ledger, and so does verification.

Everything that can be filtered by or counted is a *term* (a kind and a name); each term has a Roaring bitmap of the
timeline's items that bear it, in segments of 65,536 items. A filter is an intersection of bitmaps, a plot is a set of
cardinalities, and both cost the same however often a term occurs.

Source: Lemire et al. 2018, "Roaring bitmaps: implementation of an optimized software library" (arXiv:1709.07821).
"""

from __future__ import annotations

from safegen.serve.console.index.build import IndexState, update_index
from safegen.serve.console.index.database import IndexFile, index_path
from safegen.serve.console.index.filters import Filter
from safegen.serve.console.index.item import Item, Peak
from safegen.serve.console.index.search import Search

__all__ = ["Filter", "IndexFile", "IndexState", "Item", "Peak", "Search", "index_path", "update_index"]
