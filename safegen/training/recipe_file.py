"""Reads recipe files, and says where in the file an error lies.

Invariant: whatever is wrong with a file becomes one TrainingError that states file, line and column of the first error
and the field of every error.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import YAMLError

from safegen.errors import TrainingError
from safegen.training.recipe import Recipe


def read_recipe(path: Path) -> Recipe:
    """Read a recipe; `words_from: FILE` takes the words from another YAML file beside it, `words` overrides them.

    Raises:
        TrainingError: unreadable, or a field is wrong.
    """
    data = _read(path)
    shared = data.pop("words_from", None)
    if shared is not None:
        data["words"] = {**_shared_words(path, shared), **(data.get("words") or {})}
    try:
        return Recipe.model_validate(data)
    except ValidationError as error:
        raise _located(path, error) from error


def _shared_words(path: Path, name: object) -> dict[str, Any]:
    if not isinstance(name, str):
        raise TrainingError("words_from is not the name of a file", where=_position(path, ("words_from",)))
    return _read(path.parent / name)


def _read(path: Path) -> dict[str, Any]:
    try:
        data = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TrainingError(f"the file cannot be read: {error.strerror}", where=str(path)) from error
    except UnicodeDecodeError as error:
        raise TrainingError("the file is not UTF-8 text", where=str(path)) from error
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
        raise TrainingError(f"not readable as YAML: {getattr(error, 'problem', None) or error}", where=where) from error
    if not isinstance(data, dict):
        raise TrainingError("this is not a mapping of fields to values", where=f"{path}:1:1")
    return data


def _located(path: Path, error: ValidationError) -> TrainingError:
    problems = error.errors(include_url=False)
    lines = [f"{_field(problem['loc'])}: {problem['msg']}" for problem in problems]
    unknown = any(problem["type"] == "extra_forbidden" for problem in problems)
    hint = f"fields of a recipe: {', '.join((*Recipe.model_fields, 'words_from'))}" if unknown else ""
    return TrainingError("; ".join(lines), where=_position(path, problems[0]["loc"]), hint=hint)


def _field(place: Sequence[str | int]) -> str:
    return ".".join(str(part) for part in place) or "recipe"


def _position(path: Path, place: Sequence[str | int]) -> str:
    """`file:line:column` of the deepest part of the field that the file holds."""
    node: Any = YAML(typ="rt").load(path.read_text(encoding="utf-8"))
    line, column = 0, 0
    for part in place:
        if isinstance(node, CommentedMap) and part in node:
            line, column = node.lc.key(part)
        elif isinstance(node, CommentedSeq) and isinstance(part, int) and part < len(node):
            line, column = node.lc.item(part)
        else:
            break
        node = node[part]
    return f"{path}:{line + 1}:{column + 1}"
