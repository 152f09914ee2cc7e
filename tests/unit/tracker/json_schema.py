"""As much of JSON Schema as our OpenAPI document uses: says where a value is not what the schema promises."""

from __future__ import annotations

import re
from typing import Any

KINDS: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}
KNOWN = {
    "$ref", "anyOf", "type", "properties", "required", "additionalProperties", "items", "enum", "pattern", "minimum",
    "maximum", "maxItems", "default", "description", "format", "contentEncoding",
}  # fmt: skip


def problems(value: Any, schema: dict[str, Any], document: dict[str, Any], at: str = "$") -> list[str]:
    """Return what is wrong with `value`, or an empty list."""
    assert set(schema) <= KNOWN, f"{at}: this checker does not know {set(schema) - KNOWN}"
    if "$ref" in schema:
        target: Any = document
        for part in schema["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        return problems(value, target, document, at)
    if "anyOf" in schema:
        attempts = [problems(value, one, document, at) for one in schema["anyOf"]]
        return [] if [] in attempts else attempts[0]
    return _type(value, schema, at) or [*_scalar(value, schema, at), *_children(value, schema, document, at)]


def _type(value: Any, schema: dict[str, Any], at: str) -> list[str]:
    kinds = schema.get("type", [])
    for kind in [kinds] if isinstance(kinds, str) else kinds:
        if isinstance(value, KINDS[kind]) and (kind == "boolean" or not isinstance(value, bool)):
            return []
    return [f"{at}: {value!r:.60} is no {kinds}"] if kinds else []


def _scalar(value: Any, schema: dict[str, Any], at: str) -> list[str]:
    found = []
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{at}: {value!r} is none of {schema['enum']}")
    if "pattern" in schema and isinstance(value, str) and not re.search(schema["pattern"], value):
        found.append(f"{at}: {value!r} does not match {schema['pattern']}")
    if isinstance(value, int) and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        found.append(f"{at}: {value} is out of range")
    return found


def _children(value: Any, schema: dict[str, Any], document: dict[str, Any], at: str) -> list[str]:
    found = []
    if isinstance(value, list) and len(value) > schema.get("maxItems", len(value)):
        found.append(f"{at}: {len(value)} are too many")
    if isinstance(value, list) and "items" in schema:
        for index, item in enumerate(value):
            found += problems(item, schema["items"], document, f"{at}[{index}]")
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        found += [f"{at}: {name} is missing" for name in schema.get("required", ()) if name not in value]
        if schema.get("additionalProperties") is False:
            found += [f"{at}: {name} is not in the document" for name in value if name not in properties]
        for name, item in value.items():
            if name in properties:
                found += problems(item, properties[name], document, f"{at}.{name}")
    return found
