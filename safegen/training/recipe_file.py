"""Reads recipe files, and says where in the file an error lies.

Invariant: whatever is wrong with a file becomes one TrainingError that states file, line and column of the first error
and the field of every error.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import YAMLError

from safegen.data import data_folder
from safegen.errors import TrainingError
from safegen.training.recipe import Recipe

_LISTED = ("words_from", "shared", "groups", "recipes")


def find_recipe(name: str | Path) -> Path:
    """The file of a recipe: a path that exists, or the name of a shipped one, e.g. `nudity` or `sticker/zoo`.

    Raises:
        TrainingError: neither.
    """
    path = Path(name)
    if path.is_file():
        return path
    shipped = data_folder("spm_models") / "recipes"
    files = sorted(shipped.rglob("*.yaml"))
    known = {file.relative_to(shipped).with_suffix("").as_posix(): file for file in files if file.stem != "words"}
    found = [file for key, file in known.items() if str(name) in {key, file.stem}]
    if len(found) == 1:
        return found[0]
    close = difflib.get_close_matches(str(name), [*known, *(file.stem for file in known.values())], n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"give a path, or one of the shipped: {', '.join(known)}"
    raise TrainingError(f"there is no recipe {str(name)!r}" if not found else f"{str(name)!r} names several", hint=hint)


def read_recipe(path: Path) -> Recipe:
    """Read a file that holds one recipe.

    `words_from: FILE` takes the words from another YAML file beside it, `words` overrides them.

    Raises:
        TrainingError: unreadable, a field is wrong, or it holds a list of recipes.
    """
    recipes = read_recipes(path)
    if len(recipes) != 1:
        raise TrainingError(f"the file holds {len(recipes)} recipes, not one", where=str(path))
    return recipes[0]


def read_recipes(path: Path) -> list[Recipe]:
    """Read a file that holds one recipe, or many under `recipes`.

    In a list each entry takes what `shared` says, then what its `group` says among `groups`, and overrides it field by
    field; `words` are merged key by key.

    Raises:
        TrainingError: unreadable, a field is wrong, or two recipes have one id.
    """
    data = _read(path)
    words = _words_from(path, data.pop("words_from", None))
    if "recipes" not in data:
        return [_validated(path, _merged({"words": words}, data), ())]
    entries = _entries(path, data)
    layers = [_layers(path, data, number, entry) for number, entry in enumerate(entries)]
    recipes = [
        _validated(path, _merged({"words": words}, *parts), ("recipes", number)) for number, parts in enumerate(layers)
    ]
    seen: set[str] = set()
    for number, recipe in enumerate(recipes):
        if recipe.id in seen:
            raise TrainingError(f"two recipes are called {recipe.id!r}", where=_position(path, ("recipes", number)))
        seen.add(recipe.id)
    return recipes


def _entries(path: Path, data: dict[str, Any]) -> list[dict[str, Any]]:
    if unknown := [key for key in data if key not in _LISTED]:
        hint = f"a list of recipes has {', '.join(_LISTED)}"
        raise TrainingError(f"unknown field {unknown[0]!r}", where=_position(path, (unknown[0],)), hint=hint)
    for key, kind in (("shared", dict), ("groups", dict), ("recipes", list)):
        if not isinstance(data.get(key, kind()), kind):
            raise TrainingError(f"{key} has the wrong form", where=_position(path, (key,)))
    entries: list[dict[str, Any]] = data["recipes"]
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise TrainingError("this is not a mapping of fields to values", where=_position(path, ("recipes", number)))
    return entries


def _layers(path: Path, data: dict[str, Any], number: int, entry: dict[str, Any]) -> list[dict[str, Any]]:
    groups = data.get("groups") or {}
    name = entry.pop("group", None)
    if name is not None and not isinstance(groups.get(name), dict):
        known = ", ".join(map(str, groups)) or "none"
        where = _position(path, ("recipes", number, "group"))
        raise TrainingError(f"there is no group {name!r}", where=where, hint=f"groups here: {known}")
    return [data.get("shared") or {}, groups.get(name) or {}, entry]


def _merged(*layers: dict[str, Any]) -> dict[str, Any]:
    """Later layers override earlier ones; `words` are merged."""
    merged: dict[str, Any] = {}
    words: dict[str, Any] = {}
    for layer in layers:
        own = layer.get("words")
        if own is not None and not isinstance(own, dict):
            return {**merged, **layer}  # the recipe's own check says what is wrong with it
        words |= own or {}
        merged |= layer
    return {**merged, "words": words}


def _validated(path: Path, data: dict[str, Any], place: tuple[str | int, ...]) -> Recipe:
    try:
        return Recipe.model_validate(data)
    except ValidationError as error:
        raise _located(path, error, place) from error


def _words_from(path: Path, name: object) -> dict[str, Any]:
    if name is None:
        return {}
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


def _located(path: Path, error: ValidationError, place: tuple[str | int, ...]) -> TrainingError:
    problems = error.errors(include_url=False)
    lines = [f"{_field(problem['loc'])}: {problem['msg']}" for problem in problems]
    unknown = any(problem["type"] == "extra_forbidden" for problem in problems)
    hint = f"fields of a recipe: {', '.join((*Recipe.model_fields, 'words_from'))}" if unknown else ""
    return TrainingError("; ".join(lines), where=_position(path, (*place, *problems[0]["loc"])), hint=hint)


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
