"""A fast "yes" to whether bytes are a record, for verifying very long logs.

The models of `record` are turned into typed dictionaries in which nothing has a default: what the wire must carry is
required, what it leaves out may be missing and is never null or empty. Values are checked by the annotations of the
models, and no model is built.

Invariants: `parse_record` alone decides what is a record; what is taken here, it takes too, with the same content
(tests/property/test_ledger_wire.py). Whatever is not taken here is left to it.
"""

from __future__ import annotations

import operator
from functools import cache, reduce
from types import NoneType, UnionType
from typing import Annotated, Any, NotRequired, Union, get_args, get_origin

from pydantic import BeforeValidator, ConfigDict, Field, PlainSerializer, TypeAdapter, ValidationError, WithJsonSchema
from typing_extensions import TypedDict

from safegen.ledger.canonical import canonical_value
from safegen.ledger.parts import LARGEST_EXACT_INTEGER, ClosedModel
from safegen.ledger.record import ENTRY_BYTES_LIMIT, SCHEMA_VERSION, Record
from safegen.ledger.stages import Move

_SEED = Annotated[int, Field(ge=0, le=LARGEST_EXACT_INTEGER)]
"""Seeds beyond that are strings on the wire; they are rare and left to `parse_record`."""
_TYPED_DICT: Any = TypedDict


def read_wire(body: bytes) -> dict[str, Any] | None:
    """The JSON of a record of the present version if the bytes surely are one; None leaves it to `parse_record`."""
    value = canonical_value(body)
    try:
        _adapter().validate_python(value, strict=True)
    except ValidationError:
        return None
    if value["schema_version"] != SCHEMA_VERSION or len(body) >= ENTRY_BYTES_LIMIT or not _consistent(value):
        return None
    return value  # type: ignore[no-any-return]


def move_of_wire(value: dict[str, Any]) -> Move:
    """The move that a record makes, from its JSON."""
    stage = value["stage"]
    if stage == "decided":
        return Move(stage, 0, "", value["refusal"] is not None)
    return Move(stage, value.get("attempt", 0), value["outcome"] if stage == "closed" else "", False)


def _consistent(value: dict[str, Any]) -> bool:
    """What the models check across fields."""
    for score in value.get("scores", ()):
        if (score["score"] is None) == (score["failure"] is None):
            return False
    return all("adapter" in one or one["kind"] == "miss" for one in value.get("disagreements", ()))


@cache
def _adapter() -> TypeAdapter[Any]:
    stages = [_typed(model) for model in get_args(Record)]
    stage: Any = Annotated[reduce(operator.or_, stages), Field(discriminator="stage")]
    return TypeAdapter(stage)


@cache
def _typed(model: type[ClosedModel]) -> Any:
    """The model as a typed dictionary."""
    fields = {}
    for name, field in model.model_fields.items():
        if field.exclude_if is None:
            fields[name] = _wire(field.annotation, tuple(field.metadata))
        else:
            fields[name] = NotRequired[_present(field.annotation)]
    typed: Any = _TYPED_DICT(f"Wire{model.__name__}", fields)
    typed.__pydantic_config__ = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
    return typed


def _present(annotation: Any) -> Any:
    """The type of a field that is left out rather than null or empty."""
    if get_origin(annotation) is tuple:
        return Annotated[_wire(annotation), Field(min_length=1)]
    return reduce(operator.or_, [_wire(kind) for kind in get_args(annotation) if kind is not NoneType])


def _wire(annotation: Any, metadata: tuple[Any, ...] = ()) -> Any:
    """The type of a value on the wire: lists for tuples, dictionaries for models."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _wire(arguments[0], (*arguments[1:], *metadata))
    if any(isinstance(each, BeforeValidator) for each in metadata):
        return _SEED
    if isinstance(annotation, type) and issubclass(annotation, ClosedModel):
        return _typed(annotation)
    if origin in {Union, UnionType}:
        kind = reduce(operator.or_, map(_wire, arguments))
    elif origin is tuple:
        kind = list[_wire(arguments[0])]  # type: ignore[misc]
    elif origin is dict:
        kind = dict[_wire(arguments[0]), _wire(arguments[1])]  # type: ignore[misc]
    else:
        kind = annotation
    kept = tuple(each for each in metadata if not isinstance(each, PlainSerializer | WithJsonSchema))
    return Annotated[(kind, *kept)] if kept else kind
