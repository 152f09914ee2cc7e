"""What is known of huggingface_hub: the functions that are wrapped, what they must look like, and how a download is written.

`file_download` is the module of that name, in whatever version is installed.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from llmpt.core.errors import InvalidName
from llmpt.core.repo import RepoRef

BYTES = "_download_to_tmp_and_move"
OUTER = ("_hf_hub_download_to_cache_dir", "_hf_hub_download_to_local_dir")
METADATA = "_get_metadata_or_catch_error"
MOVE = "_chmod_and_move"
BYTES_PARAMETERS = frozenset(
    {"incomplete_path", "destination_path", "url_to_download", "headers", "expected_size", "filename", "force_download"}
)
OUTER_PARAMETERS = frozenset({"repo_id", "repo_type", "revision", "filename"})

CHUNK = "DOWNLOAD_CHUNK_SIZE"
CHUNK_BYTES = 256 << 10


def unfit(file_download: ModuleType) -> str | None:
    """Say why this version of huggingface_hub cannot be patched; None when it can."""
    if os.name != "posix" or sys.platform == "cygwin":
        return "llmpt runs on Linux and macOS"
    for name in (BYTES, METADATA, MOVE, *OUTER):
        if not callable(getattr(file_download, name, None)):
            return f"it has no {name}"
        if inspect.iscoroutinefunction(getattr(file_download, name)):
            return f"{name} is asynchronous"
    missing = BYTES_PARAMETERS - inspect.signature(getattr(file_download, BYTES)).parameters.keys()
    if missing:
        return f"{BYTES} takes no {', '.join(sorted(missing))}"
    for name in OUTER:
        function = inspect.unwrap(getattr(file_download, name))
        missing = OUTER_PARAMETERS - inspect.signature(function).parameters.keys()
        if missing:
            return f"{name} takes no {', '.join(sorted(missing))}"
        called = getattr(getattr(function, "__code__", None), "co_names", ())
        if BYTES not in called or METADATA not in called:
            return f"{name} doesn't call {BYTES} and {METADATA} any more"
    return None


def constant(file_download: ModuleType, name: str, default: Any) -> Any:
    """Return one of the library's constants; before 0.25 its modules had them as names of their own."""
    return getattr(_holder(file_download, name), name, default)


def kept_in(asked: Mapping[str, Any]) -> Path | None:
    """Return the folder in which the library keeps what it was told of a repo's commits (`trees`, `.no_exist`), by the arguments
    of one of its outer functions; None: there is none."""
    local_dir, cache_dir = asked.get("local_dir"), asked.get("cache_dir")
    try:
        if local_dir is not None:
            return _absolute(Path(local_dir)) / ".cache" / "huggingface"
        return None if cache_dir is None else _absolute(Path(cache_dir)) / RepoRef(asked["repo_type"], asked["repo_id"]).folder
    except (InvalidName, TypeError):
        return None


def writes_as_it_comes(file_download: ModuleType) -> bool:
    """Whether a download can be seen to grow; hf_transfer has a hundred parts in memory first."""
    return not constant(file_download, "HF_HUB_ENABLE_HF_TRANSFER", False)


def asked_without_token(asked: Mapping[str, Any], answer: tuple[Any, ...], environ: Mapping[str, str]) -> bool:
    """Whether the Hub has given `answer` to the metadata call with the arguments `asked` without being shown a token.

    Of a file in Xet that a listing names (since 1.22) the Hub is not asked at all, and requests sends what ~/.netrc has.
    """
    headers = asked.get("headers")
    if not isinstance(headers, Mapping) or any(str(name).lower() == "authorization" for name in headers):
        return False
    if asked.get("tree_cache_folder") is not None and len(answer) > 5 and answer[4] is not None:
        return False
    home = Path(environ.get("HOME", "/"))
    names = (Path(environ.get("NETRC") or home / ".netrc"), home / "_netrc")
    return not any(os.path.exists(name) for name in names)  # noqa: PTH110 - pathlib raises in a home that is closed to us


@dataclass(frozen=True, slots=True)
class Asked:
    """What the library asks its `_download_to_tmp_and_move` for.

    `library`: the module.
    `arguments`: of that call, by name.
    """

    library: ModuleType
    arguments: Mapping[str, Any]

    @property
    def incomplete(self) -> Path:
        """Where the library would write to, in some versions with more at its end."""
        return _absolute(self.arguments["incomplete_path"])

    @property
    def destination(self) -> Path:
        return _absolute(self.arguments["destination_path"])

    @property
    def stem(self) -> Path | None:
        """How the path of what the library writes to begins; None when that cannot be watched."""
        return self.incomplete.with_name(self.incomplete.stem) if writes_as_it_comes(self.library) else None


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100 - resolve() would follow a link


class Chunks:
    """How much of a download the library reads before it writes: 10 MB, so that a slow one seems to stand still.

    Machines that wait for this machine's download have to see it grow, so the step is smaller while the hook is in place. Where
    hf_transfer downloads, the same constant says how it cuts a file into parts; there it stays.
    """

    def __init__(self, file_download: ModuleType) -> None:
        self._holder = _holder(file_download, CHUNK)
        self._original = vars(self._holder).get(CHUNK) if writes_as_it_comes(file_download) else None
        self._ours = CHUNK_BYTES

    def put(self) -> None:
        if isinstance(self._original, int) and self._original > self._ours:
            setattr(self._holder, CHUNK, self._ours)

    def take_back(self) -> None:
        """Put the library's own object back, unless the program has set another."""
        if self._original is not None and vars(self._holder).get(CHUNK) is self._ours:
            setattr(self._holder, CHUNK, self._original)


def _holder(file_download: ModuleType, name: str) -> ModuleType:
    return file_download if name in vars(file_download) else getattr(file_download, "constants", file_download)
