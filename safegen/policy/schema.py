"""The JSON Schemas of policies and of their tests, generated from the models, for editors that help while one writes.

Invariant: a schema describes shape only; what a well-formed policy must still not say is in `checks`.
"""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel

from safegen.policy.model import Policy
from safegen.policy.suite import PolicySuite

_INHERITED = ("base", "rules")
_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def policy_schema_text() -> str:
    """The schema of policies as JSON text that ends with a newline; an overlay may leave out what it extends states."""
    schema = _schema(Policy, "safegen policy")
    schema["required"] = [name for name in schema["required"] if name not in _INHERITED]
    return _text({**schema, "anyOf": [{"required": ["extends"]}, {"required": list(_INHERITED)}]})


def suite_schema_text() -> str:
    """The schema of the tests beside policies, likewise."""
    return _text(_schema(PolicySuite, "tests of a safegen policy"))


def _schema(model: type[BaseModel], title: str) -> dict[str, Any]:
    return {"$schema": _DIALECT, **model.model_json_schema(by_alias=True), "title": title}


def _text(schema: dict[str, Any]) -> str:
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
