"""The card of a repo: the YAML between two lines of `---` at the start of its README.md, which the Hub's API shows as JSON, with
what the Hub makes of it and of the repo's files: its task, its library, its tags.

Any publisher of a repo can write one. It is read with bounds: so many bytes, no anchors (an alias makes ten lines a billion), no
deep nesting, and nothing in it that JSON does not have.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any

import yaml

from llmpt.disk.opening import open_file
from llmpt.disk.stamp import FileStamp

README = "README.md"
MAX_READ_BYTES = 256 << 10
MAX_CARD_BYTES = 64 << 10  # of JSON: what a tracker takes
MAX_DEPTH = 32
MAX_WORD = 200  # characters of a task, a library, or a tag
MAX_TAGS = 500
_FRONT = re.compile(r"\ufeff?---[ \t]*\r?\n(.*?)^---[ \t]*\r?$", re.DOTALL | re.MULTILINE)
_BOOL = "tag:yaml.org,2002:bool"


def card_loader(safe: Any) -> Any:
    """Make of a safe loader one that reads YAML as the Hub does, by version 1.2: `no` is Norwegian, not a no."""
    kept = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag != _BOOL]
        for first, resolvers in safe.yaml_implicit_resolvers.items()
    }
    loader: Any = type("CardLoader", (safe,), {"yaml_implicit_resolvers": kept})
    loader.add_implicit_resolver(_BOOL, re.compile(r"(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))
    return loader


_CardLoader = card_loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def read_card(path: Path, stamp: FileStamp) -> dict[str, Any] | None:
    """Read the card of the README at `path`, if it is the file of that stamp; None when there is none, or it is not one that can
    be passed on."""
    try:
        with os.fdopen(open_file(path, follow=False), "rb") as file:
            if not stamp.is_same(FileStamp.of(os.fstat(file.fileno()))):
                return None
            text = file.read(MAX_READ_BYTES).decode("utf-8", "ignore")  # the cut may lie within a character
    except OSError:
        return None
    front = _FRONT.match(text)
    if front is None:
        return None
    try:
        _check(front[1])
        card = _plain(yaml.load(front[1], Loader=_CardLoader))  # noqa: S506 - a safe loader
        size = _size(card)
    except (yaml.YAMLError, ValueError, TypeError, OverflowError, RecursionError):
        return None
    return card if isinstance(card, dict) and size <= MAX_CARD_BYTES else None


def card_in(info: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the card in the Hub's own answer about a repo, as far as it makes sense; None when there is nothing in it.

    The task and the library of a model may follow from its files alone; `pipeline(model=…)` of transformers asks for both.
    """
    card = info.get("cardData")
    words = {name: info[name] for name in ("pipeline_tag", "library_name") if _is_word(info.get(name))}
    listed = info.get("tags")
    tags = [tag for tag in listed if _is_word(tag)][:MAX_TAGS] if isinstance(listed, list) else []
    found = words | ({"tags": tags} if tags else {})
    for candidate in ({**card, **found} if isinstance(card, dict) else found, found):
        try:
            plain = _plain(candidate)
            if _size(plain) <= MAX_CARD_BYTES:
                return plain or None
        except (ValueError, TypeError, OverflowError, RecursionError):
            continue
    return None


def _is_word(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MAX_WORD and value.isprintable()


def _size(card: Any) -> int:
    return len(json.dumps(card, ensure_ascii=False, allow_nan=False).encode())


def _check(text: str) -> None:
    """Raise `ValueError` for a document that is made to hurt, before anything is made of it."""
    depth = 0
    for event in yaml.parse(text, Loader=_CardLoader):
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise ValueError("an anchor")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH:
            raise ValueError("nested too deeply")


def _plain(value: Any) -> Any:
    """Return `value` in JSON's own types; raise `ValueError` for what has no place there."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int | float):
        if not math.isfinite(value) or (isinstance(value, int) and value.bit_length() > 64):
            raise ValueError("a number that JSON does not have")
        return value
    if isinstance(value, date | datetime):
        return value.isoformat()
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {key if isinstance(key, str) else json.dumps(_plain(key)): _plain(item) for key, item in value.items()}
    raise ValueError(f"a {type(value).__name__}")
