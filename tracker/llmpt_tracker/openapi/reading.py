"""The document as a page shows it: each route with its parameters, bodies and answers, each schema with its fields."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from llmpt_tracker.openapi.terms import Schema

ERROR = "Error"


@dataclass(frozen=True, slots=True)
class Kind:
    """What a value is, in words; `schema` is the named one at its end, or empty."""

    words: str
    schema: str = ""


@dataclass(frozen=True, slots=True)
class Field:
    """A parameter, or a property of an object: `name` has the way to it (`beside.commit`, `peers[].port`)."""

    name: str
    kind: Kind
    about: str = ""
    is_required: bool = False
    where: str = ""


@dataclass(frozen=True, slots=True)
class Described:
    """An answer (with its status), or the body of a request."""

    about: str
    kind: Kind
    status: str = ""


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one route. `scopes`: a token has to have one of them; none: it takes no token."""

    method: str
    path: str
    summary: str
    scopes: tuple[str, ...]
    parameters: tuple[Field, ...]
    body: Described | None
    answers: tuple[Described, ...]

    @property
    def anchor(self) -> str:
        """What a link to it ends with."""
        return f"{self.method}-{self.path.removeprefix('/api/v1/')}".translate(str.maketrans("/", "-", "{}")).lower()


@dataclass(frozen=True, slots=True)
class NamedSchema:
    """A schema that routes refer to."""

    name: str
    about: str
    fields: tuple[Field, ...] = field(default=())


def operations(document: Schema) -> list[Operation]:
    """Return every method of every route, by path."""
    return [
        _operation(method, path, found)
        for path, methods in sorted(document["paths"].items())
        for method, found in sorted(methods.items())
    ]


def schemas(document: Schema) -> list[NamedSchema]:
    """Return every schema, by name."""
    found = sorted(document["components"]["schemas"].items())
    return [NamedSchema(name, one.get("description", ""), tuple(_fields(one))) for name, one in found]


def _operation(method: str, path: str, found: Schema) -> Operation:
    parameters = tuple(
        Field(one["name"], _kind(one["schema"]), _about(one["schema"]), one["required"], one["in"])
        for one in found.get("parameters", ())
    )
    scopes = tuple(scope for one in found.get("security", ()) for names in one.values() for scope in names)
    asked = found.get("requestBody")
    answers = tuple(_described(one, status) for status, one in sorted(found["responses"].items()))
    return Operation(
        method.upper(), path, found["summary"], scopes, parameters, None if asked is None else _described(asked), answers
    )


def _described(found: Schema, status: str = "") -> Described:
    for media_type, content in found.get("content", {}).items():
        kind = _kind(content["schema"])
        is_json = media_type == "application/json"
        return Described(found.get("description", ""), kind if is_json else Kind(media_type), status)
    return Described(found.get("description", ""), Kind(""), status)


def _kind(schema: Schema) -> Kind:
    if "$ref" in schema:
        return Kind("", schema["$ref"].rpartition("/")[2])
    if "anyOf" in schema:
        kinds = [_kind(one) for one in schema["anyOf"]]
        words = " or ".join(kind.words for kind in kinds if kind.words)
        named = next((kind.schema for kind in kinds if kind.schema), "")
        return Kind(f"{words} or" if words and named else words, named)
    if schema.get("type") == "array":
        of = _kind(schema.get("items", {}))
        return Kind(f"list of {of.words}".rstrip(), of.schema)
    said = schema.get("type", "anything")
    words = said if isinstance(said, str) else " or ".join(said)
    if "enum" in schema:
        words = " or ".join(str(one) for one in schema["enum"])
    return Kind(words + _bounds(schema))


def _bounds(schema: Schema) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    if high is not None:
        return f", {low} to {high}" if low is not None else f", at most {high}"
    return f", from {low}" if low else ""


def _about(schema: Schema) -> str:
    words = [schema.get("description", "")]
    if "pattern" in schema:
        words.append(f"matches {schema['pattern']}")
    if "default" in schema:
        words.append(f"{schema['default']} unless given")
    if "maxItems" in schema:
        words.append(f"at most {schema['maxItems']}")
    return "; ".join(word for word in words if word)


def _fields(schema: Schema, before: str = "") -> Iterator[Field]:
    """Yield the properties, and behind each those of the objects in it that have no name of their own."""
    for name, one in schema.get("properties", {}).items():
        yield Field(before + name, _kind(one), _about(one), name in schema.get("required", ()))
        inner: Any = one
        way = f"{before}{name}"
        while inner.get("type") == "array":
            inner, way = inner.get("items", {}), f"{way}[]"
        yield from _fields(inner, f"{way}.")
