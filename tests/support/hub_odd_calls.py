"""What else programs ask of the Hub: other types of repo, branches with slashes, pull requests, parts of files, errors.

Run by the Python of an environment: `hub_odd_calls.py` prints a JSON object, as hub_calls.py does. The repos that it asks for
are made by the test that runs it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, HfFileSystem, constants, hf_hub_download, snapshot_download

NAMES = ("nested/a b+c%&#.json", "nested/ünï/cödé.txt", "plus+plus.txt")
REFS = ("main", "feature/x", "refs/pr/1")

api = HfApi()


def refusal(call: Callable[[], Any]) -> str:
    """Say which of the library's errors a call ends in."""
    known = ("GatedRepoError", "EntryNotFoundError", "RevisionNotFoundError", "RepositoryNotFoundError", "HfHubHTTPError")
    try:
        return f"no error: {call()}"
    except Exception as error:
        kinds = [kind.__name__ for kind in type(error).__mro__]
        return next((name for name in known if name in kinds), f"{type(error).__name__}: {error}")


def names_are_kept() -> Any:
    found = {name: Path(hf_hub_download("acme/odd", name)).read_text() for name in NAMES}
    return [found, Path(hf_hub_download("acme/odd", "empty.txt")).stat().st_size]


def revisions_are_found() -> Any:
    found = [Path(hf_hub_download("acme/odd", "config.json", revision=name)).read_text() for name in REFS]
    commit = api.model_info("acme/odd", revision="refs/pr/1").sha
    short = api.model_info("acme/odd", revision="feature/x").sha
    return [found, commit, short, Path(snapshot_download("acme/odd", revision="feature/x", allow_patterns="*.json")).name]


def other_types() -> Any:
    dataset = api.dataset_info("acme/rows", files_metadata=True)
    shown = sorted([one.rfilename, one.size, one.blob_id] for one in dataset.siblings or ())
    table = Path(hf_hub_download("acme/rows", "data/train-00000.parquet", repo_type="dataset")).read_bytes()
    names = sorted(one.rfilename for one in api.space_info("acme/room").siblings or ())
    lonely = sorted(one.rfilename for one in api.model_info("lonely").siblings or ())
    return [dataset.id, dataset.sha, shown, len(table), names, lonely, api.list_repo_files("acme/rows", repo_type="dataset")]


def kernels() -> Any:
    if "kernel" not in getattr(constants, "REPO_TYPES_WITH_KERNEL", ()):
        return None  # before 1.10
    return Path(hf_hub_download("acme/kernel", "build.toml", repo_type="kernel")).read_text()


def folders() -> Any:
    def listed(path: str | None, recursive: bool) -> list[Any]:
        found = api.list_repo_tree("acme/odd", path, recursive=recursive)
        return [[type(one).__name__, one.path, getattr(one, "size", None)] for one in found]

    return [listed(None, False), listed(None, True), listed("nested", True), listed("nested/ünï", False)]


def paths_info() -> Any:
    found = api.get_paths_info("acme/odd", ["config.json", "small.bin", "none", *NAMES], expand=False)
    return [[one.path, one.size, one.blob_id, one.lfs and one.lfs["sha256"]] for one in found]  # type: ignore[union-attr]


def pull_requests() -> Any:
    found = api.list_repo_refs("acme/odd", include_pull_requests=True)
    return sorted([one.name, one.ref, one.target_commit] for one in (*found.branches, *(found.pull_requests or ())))


def access() -> Any:
    check = getattr(api, "auth_check", None)  # since 0.25
    return check is None or [check("acme/odd"), refusal(lambda: check("acme/none"))]


def errors() -> Any:
    return {
        "repo": refusal(lambda: api.model_info("acme/none")),
        "revision": refusal(lambda: api.model_info("acme/odd", revision="none")),
        "commit": refusal(lambda: api.model_info("acme/odd", revision="0" * 40)),
        "file": refusal(lambda: hf_hub_download("acme/odd", "none/at/all")),
        "folder": refusal(lambda: list(api.list_repo_tree("acme/odd", "none"))),
        "left behind": sorted(path.name for path in Path().rglob(".no_exist/*/*")),
    }


def file_system() -> Any:
    files: Any = HfFileSystem()
    with files.open("acme/odd/model.safetensors", "rb", block_size=1000) as opened:
        opened.seek(1_500_000)
        end = len(opened.read())
    return [
        sorted(files.find("acme/odd")),
        sorted(files.glob("acme/odd/**/*.txt")),
        files.cat("acme/odd/config.json").decode(),
        files.cat("datasets/acme/rows/data/more.csv").decode(),
        files.info("acme/odd/small.bin")["size"],
        files.isdir("acme/odd/nested"),
        files.exists("acme/odd@feature%2Fx/config.json"),
        end,
    ]


CALLS = (
    names_are_kept,
    revisions_are_found,
    other_types,
    kernels,
    folders,
    paths_info,
    pull_requests,
    access,
    errors,
    file_system,
)


def main() -> None:
    def outcome(call: Callable[[], Any]) -> Any:
        try:
            return call()
        except Exception as error:
            return f"{type(error).__name__}: {error}"

    print(json.dumps({call.__name__: outcome(call) for call in CALLS}))


if __name__ == "__main__":
    main()
