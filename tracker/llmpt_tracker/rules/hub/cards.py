"""Repos in the JSON of the Hub's API, with what their cards say: the front matter of a README."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from llmpt.core.documents import read_json
from llmpt.core.errors import InvalidInput
from llmpt_tracker.rules.hub.files import HubFile, Json, moment, sibling
from llmpt_tracker.rules.hub.revisions import HubRevision

MAX_CARD_BYTES = 1 << 20  # far above what is published
MAX_TAGS = 1000
TASK, LIBRARY, TAGS = "pipeline_tag", "library_name", "tags"  # what programs choose by: `pipeline(model=…)`, and lists
LIBRARIES = frozenset(  # which older cards name among their tags
    ("transformers", "sentence-transformers", "diffusers", "timm", "peft", "setfit", "keras", "spacy", "flair", "fastai", "mlx")
)


def info(revision: HubRevision, files: Iterable[HubFile] | None, *, blobs: bool = False) -> Json:
    """Return a repo as the API shows it, at one revision. `files` None: without siblings; `blobs`: with sizes and hashes."""
    told, repo, when = card(revision.card), revision.repo, moment(revision.published_at)
    shown: Json = {
        "_id": revision.commit[:24],
        "id": repo.id,
        "author": repo.id.partition("/")[0] if "/" in repo.id else None,
        "sha": revision.commit,
        "private": False,
        "gated": False,
        "disabled": False,
        "tags": tags(told),
        "downloads": 0,
        "likes": 0,
        "lastModified": when,
        "createdAt": when,
    }
    if repo.type == "model":
        shown["modelId"] = repo.id
    if told:
        shown["cardData"] = told
    words = {name: told.get(name) for name in (TASK, LIBRARY, "sdk")}
    words[LIBRARY] = told.get(LIBRARY) or next((tag for tag in shown["tags"] if tag in LIBRARIES), None)
    shown |= {name: word for name, word in words.items() if isinstance(word, str)}
    if files is not None:
        shown["siblings"] = [sibling(file, blobs=blobs) for file in files]
    return shown


def card(text: str | None) -> Json:
    """Read a README's front matter, which is kept as JSON; {} when there is none."""
    try:
        found = read_json(text, most_bytes=MAX_CARD_BYTES) if text else {}
    except InvalidInput:
        return {}
    return found if isinstance(found, dict) else {}


def joined(text: str, before: str | None) -> str:
    """Return a card that is published, with the task, the library and the tags that were told of its commit before: the front
    matter of a README does not say all that the Hub has found out from the files."""
    told, known = card(text), card(before)
    kept = {name: known[name] for name in (TASK, LIBRARY) if name in known and name not in told}
    tags = list(dict.fromkeys((*_texts(told.get(TAGS)), *_texts(known.get(TAGS)))))[:MAX_TAGS]
    if not kept and tags == _texts(told.get(TAGS)):
        return text
    return json.dumps(told | kept | {TAGS: tags}, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def tags(card: Json) -> list[str]:
    """Return the tags that the Hub makes of a card."""
    found = [card.get(LIBRARY), *_texts(card.get(TAGS)), card.get(TASK), *_texts(card.get("language"))]
    for name, prefix in (("license", "license"), ("datasets", "dataset"), ("base_model", "base_model")):
        found += [f"{prefix}:{text}" for text in _texts(card.get(name))]
    for name in ("task_categories", "size_categories"):
        found += [f"{name}:{text}" for text in _texts(card.get(name))]
    return list(dict.fromkeys(text for text in found if isinstance(text, str) and text))


def _texts(value: Any) -> list[str]:
    return (
        [value] if isinstance(value, str) else [one for one in value if isinstance(one, str)] if isinstance(value, list) else []
    )
