"""The one layout of policy files: order of fields, indentation, quotes. Comments stay where they are.

Invariant: a file in its layout reads as the same data as before, or nothing is written.
"""

from __future__ import annotations

import io
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import YAMLError

from safegen.errors import PolicyError
from safegen.policy.document import read_document

_WIDTH = 120
_ORDER = tuple(
    name
    for line in (
        "apiVersion kind id name version description extends policy now request fixtures mode base records category",
        "phrases aliases surrogate adapter concepts rules exceptions match when rollout action absolute scope strength",
        "transport floor ceiling cutoff replacement reason reviewer labels threshold ladder on_failure reviews owner",
        "expires cases untouched prompts fixture expect",
    )
    for name in line.split()
)


def laid_out(text: str, *, source: str) -> str:
    """The text of a policy, or of its tests, in the one layout.

    Raises:
        PolicySyntaxError: the text is no YAML that a policy may be made of.
        PolicyError: the text would read differently afterwards.
    """
    before = read_document(text, source)
    if before.problems:
        raise PolicyError("the file has problems of its own; see `safegen policy check`", where=source)
    yaml = YAML(typ="rt", pure=True)
    yaml.width = _WIDTH
    yaml.preserve_quotes = True
    yaml.indent(mapping=2, sequence=4, offset=2)
    written = io.StringIO()
    try:
        tree = yaml.load(text)
        _arrange(tree)
        yaml.dump(tree, written)
    except (YAMLError, ValueError, TypeError) as error:
        raise PolicyError(f"the file cannot be laid out: {error}", where=source) from error
    result = "\n".join(line.rstrip() for line in written.getvalue().splitlines()) + "\n"
    if read_document(result, source).data != before.data:
        raise PolicyError("the file would read differently if laid out, so it is left alone", where=source)
    return result


def _arrange(node: Any) -> None:
    """Put the fields of block mappings in order; a mapping with comments inside keeps its own."""
    if isinstance(node, CommentedMap):
        if not node.ca.items and not node.merge:
            for name in sorted(node, key=lambda one: _ORDER.index(one) if one in _ORDER else len(_ORDER)):
                node.move_to_end(name)
        for child in node.values():
            _arrange(child)
    elif isinstance(node, CommentedSeq):
        for child in node:
            _arrange(child)
