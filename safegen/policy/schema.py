"""The JSON Schema of the policy format, generated from the models, for editors that help while a policy is written.

Invariant: the schema describes shape only; what a well-formed policy must still not say is in `checks`.
"""

from __future__ import annotations

import json

from safegen.policy.model import Policy

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def policy_schema_text() -> str:
    """The schema as JSON text that ends with a newline."""
    schema = {"$schema": _DIALECT, **Policy.model_json_schema(by_alias=True), "title": "safegen policy"}
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
