"""Which file of a repo of GGUF files is meant by a quantisation: `user/repo:Q4_K_M`, as llama.cpp and its kin ask.

Of a model in parts it is the first: its reader finds the others by their names.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from llmpt_tracker.rules.hub.files import HubFile, Json

LATEST, USUAL = "latest", "Q4_K_M"
_PART = r"(?:-00001-of-\d{5})?\.gguf"
_LATER_PART = re.compile(r"-(?!00001)\d{5}-of-\d{5}\.gguf$", re.IGNORECASE)


def manifest(files: Sequence[HubFile], tag: str) -> Json | None:
    """Return the file that a tag means, and the projector that goes with it; None: there is none of that quantisation."""
    found = [file for file in files if file.path.lower().endswith(".gguf") and not _LATER_PART.search(file.path)]
    projectors = [file for file in found if "mmproj" in file.path.rpartition("/")[2].lower()]
    models = [file for file in found if file not in projectors]
    if tag.lower() == LATEST:
        chosen = _of(models, USUAL) or (models[0] if models else None)
    else:
        chosen = _of(models, tag)
    if chosen is None:
        return None
    shown = {"ggufFile": _shown(chosen)}
    return shown | ({"mmprojFile": _shown(projectors[0])} if projectors else {})


def _of(models: Sequence[HubFile], tag: str) -> HubFile | None:
    """Return the model whose name ends in a tag, or that lies in a folder of that name, or is called so."""
    name = re.escape(tag)
    means = re.compile(rf"(?:.*[-._/])?{name}{_PART}|(?:.*/)?{name}/[^/]*{_PART}|{name}", re.IGNORECASE)
    return next((file for file in models if means.fullmatch(file.path)), None)


def _shown(file: HubFile) -> Json:
    digest = f"sha256:{file.etag}" if len(file.etag) == 64 else file.etag
    return {"rfilename": file.path, "blobId": digest, "size": file.size}
