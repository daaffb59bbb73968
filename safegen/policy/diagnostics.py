"""What is wrong with a policy file, and where: one diagnostic for each problem, and the errors that carry them.

Invariants: lines and columns count from 1, columns in characters; rendered text holds no control characters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from safegen.errors import PolicyError, PolicySemanticError, PolicySyntaxError

_WIDEST = 120
MOST_SHOWN = 500
"""Problems that the text of an error spells out; `diagnostics` has them all."""


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One problem.

    Attributes:
        file: the file as the caller named it.
        line: counted from 1.
        column: counted from 1, in characters.
        message: what is wrong.
        hint: what to do; empty if there is nothing to add.
        source_line: the line of the file; empty if there is none.
        width: how many characters the problem covers.
    """

    file: str
    line: int
    column: int
    message: str
    hint: str = ""
    source_line: str = ""
    width: int = 1

    @property
    def place(self) -> str:
        """`file:line:column`."""
        return f"{self.file}:{self.line}:{self.column}"

    def render(self) -> str:
        """The problem as text: place and message, the source line with a caret, the hint."""
        lines = [f"{printable(self.place)}: {printable(self.message)}"]
        if self.source_line.strip():
            lines += self._excerpt()
        if self.hint:
            lines.append(f"  hint: {printable(self.hint)}")
        return "\n".join(lines)

    def _excerpt(self) -> list[str]:
        """The source line, cut to a readable length around the problem, and the carets below it."""
        number, at = str(self.line), self.column - 1
        first = max(0, at - _WIDEST // 2) if at > _WIDEST - 1 else 0
        shown = printable(self.source_line[first : first + _WIDEST])
        carets = "^" * max(1, min(self.width, len(shown) - (at - first)))
        return [f"  {number} | {shown}", f"  {' ' * len(number)} | {' ' * (at - first)}{carets}"]


class _DiagnosedError(PolicyError):
    """A policy error that lists its diagnostics."""

    def __init__(self, diagnostics: Sequence[Diagnostic]) -> None:
        self.diagnostics = tuple(diagnostics)
        count = len(self.diagnostics)
        head = "1 problem" if count == 1 else f"{count} problems{' or more' if count >= MOST_SHOWN else ''}"
        body = "\n".join(diagnostic.render() for diagnostic in self.diagnostics[:MOST_SHOWN])
        if count > MOST_SHOWN:
            body += f"\n... and {count - MOST_SHOWN} more"
        super().__init__(f"{head}\n{body}", where=printable(self.diagnostics[0].file))


class DiagnosedSyntaxError(_DiagnosedError, PolicySyntaxError):
    """The file is not the text of a policy; `diagnostics` lists every problem found."""

    code = PolicySyntaxError.code


class DiagnosedSemanticError(_DiagnosedError, PolicySemanticError):
    """The file is well formed and says something impossible; `diagnostics` lists every problem found."""

    code = PolicySemanticError.code


def printable(text: str) -> str:
    """The text with every character that could upset a terminal or a log replaced, and its length kept."""
    return "".join(one if one.isprintable() else " " if one.isspace() else "\N{REPLACEMENT CHARACTER}" for one in text)
