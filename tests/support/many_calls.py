"""A program that knows nothing of llmpt and calls huggingface_hub in many ways; it prints what came of each, and what lies in
its caches afterwards, so that two runs of it can be held against each other.

python many_calls.py '{"commit": "…", "names": ["info", …]}'    (names: all, where there are none)
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

MODEL, DATASET, SPACE, GATED, RENAMED = "many/model", "many/data", "many/space", "many/gated", "many/before"
REFS = ("main", "feature/one", "refs/pr/1", "v1.0")
LASTING = ("snapshots", "refs", ".no_exist", "trees", "blobs")


def digest(path: Any) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]


def tree(folder: Any) -> dict[str, str]:
    root = Path(folder)
    found = (
        path
        for path in sorted(root.rglob("*"))
        if path.is_file() and not {".cache", ".huggingface"} & {*path.relative_to(root).parts}
    )
    return {path.relative_to(root).as_posix(): digest(path) for path in found}


def left_in(cache: Path) -> dict[str, str]:
    """What a cache, or a `local_dir`, holds: path → where a link leads, or what a file says, without its times."""
    found = {}
    for path in sorted(cache.rglob("*")):
        name = path.relative_to(cache).as_posix()
        if path.is_symlink():
            found[name] = f"→ {Path(*path.readlink().parts[-2:])}"
        elif path.is_file() and not name.endswith((".lock", "CACHEDIR.TAG", ".gitignore", ".gitattributes")):
            text = path.read_bytes()
            if name.endswith(".metadata"):
                text = b"\n".join(text.splitlines()[:2])
            if "/trees/" in name:
                text = json.dumps(sorted(json.loads(text).items()) if text.startswith(b"{") else json.loads(text)).encode()
            found[name] = hashlib.sha256(text).hexdigest()[:12] if len(text) > 60 else text.decode()
        elif path.is_dir() and not any(path.iterdir()) and ".locks" not in name:
            found[name] = "(empty)"
    return found


def entry(one: Any) -> list[Any]:
    lfs = getattr(one, "lfs", None)
    sha256 = lfs and (lfs["sha256"] if isinstance(lfs, dict) else lfs.sha256)
    return [one.path, getattr(one, "size", None), getattr(one, "blob_id", None) or getattr(one, "tree_id", None), sha256]


def siblings(info: Any) -> list[Any]:
    found = []
    for one in info.siblings or []:
        sha256 = one.lfs and (one.lfs["sha256"] if isinstance(one.lfs, dict) else one.lfs.sha256)
        found.append([one.rfilename, one.size, one.blob_id, sha256])
    return [info.id, info.sha, info.private, sorted(found)]


def calls(commit: str, cache: Path) -> dict[str, Callable[[], Any]]:
    from huggingface_hub import (
        HfApi,
        HfFileSystem,
        get_hf_file_metadata,
        hf_hub_download,
        hf_hub_url,
        snapshot_download,
        try_to_load_from_cache,
    )

    api = HfApi()

    def file(name: str, repo: str = MODEL, *, into: str = "a", **more: Any) -> str:
        return digest(hf_hub_download(repo, name, cache_dir=cache / into, **more))

    def whole(repo: str = MODEL, *, into: str = "b", **more: Any) -> dict[str, str]:
        return tree(snapshot_download(repo, cache_dir=cache / into, **more))

    def metadata(revision: str, name: str = "config.json") -> list[Any]:
        found = get_hf_file_metadata(hf_hub_url(MODEL, name, revision=revision))
        return [found.commit_hash, found.etag, found.size]

    def fs() -> Any:
        HfFileSystem.clear_instance_cache()
        return HfFileSystem(skip_instance_cache=True)

    def paths(found: Any) -> Any:
        return sorted(one["name"] if isinstance(one, dict) else one for one in found)

    def read(path: str, **more: Any) -> str:
        with fs().open(path, **more) as source:
            return hashlib.sha256(source.read(3)).hexdigest()[:16]

    many: dict[str, Callable[[], Any]] = {
        "info": lambda: siblings(api.model_info(MODEL)),
        "info files_metadata": lambda: siblings(api.model_info(MODEL, files_metadata=True)),
        "info commit files_metadata": lambda: siblings(api.model_info(MODEL, revision=commit, files_metadata=True)),
        "info dataset": lambda: siblings(api.repo_info(DATASET, repo_type="dataset")),
        "info space": lambda: siblings(api.repo_info(SPACE, repo_type="space")),
        "info renamed": lambda: siblings(api.model_info(RENAMED)),
        "info timeout": lambda: siblings(api.model_info(MODEL, timeout=3)),
        "info missing": lambda: siblings(api.model_info("many/missing")),
        "files": lambda: sorted(api.list_repo_files(MODEL)),
        "files dataset": lambda: sorted(api.list_repo_files(DATASET, repo_type="dataset")),
        "tree": lambda: sorted(map(entry, api.list_repo_tree(MODEL))),
        "tree recursive": lambda: sorted(map(entry, api.list_repo_tree(MODEL, recursive=True))),
        "tree below": lambda: sorted(map(entry, api.list_repo_tree(MODEL, "deep/down", revision=commit))),
        "tree expand": lambda: sorted(map(entry, api.list_repo_tree(MODEL, recursive=True, expand=True))),
        "tree absent": lambda: sorted(map(entry, api.list_repo_tree(MODEL, "no/such"))),
        "paths": lambda: sorted(map(entry, api.get_paths_info(MODEL, ["config.json", "no.such", "deep"]))),
        "paths expand": lambda: sorted(map(entry, api.get_paths_info(MODEL, ["config.json"], expand=True))),
        "paths of one": lambda: sorted(map(entry, api.get_paths_info(MODEL, "model.safetensors", revision=commit))),
        "file_exists": lambda: [api.file_exists(MODEL, name) for name in ("config.json", "no.such", "deep/down/two.json")],
        "repo_exists": lambda: [api.repo_exists(name) for name in (MODEL, "many/missing")],
        "revision_exists": lambda: [api.revision_exists(MODEL, name) for name in (*REFS, commit, "no-such")],
        "refs": lambda: sorted(one.name for one in api.list_repo_refs(MODEL).branches),
        "metadata": lambda: metadata("main"),
        "metadata commit": lambda: metadata(commit, "model.safetensors"),
        "fs ls": lambda: paths(fs().ls(MODEL)),
        "fs ls names": lambda: paths(fs().ls(f"{MODEL}/deep", detail=False)),
        "fs ls revision": lambda: paths(fs().ls(f"{MODEL}@feature%2Fone")),
        "fs ls pr": lambda: paths(fs().ls(f"{MODEL}@refs/pr/1")),
        "fs info": lambda: [fs().info(f"{MODEL}/config.json")[name] for name in ("size", "type", "blob_id")],
        "fs info folder": lambda: fs().info(f"{MODEL}/deep")["type"],
        "fs info dataset": lambda: fs().info(f"datasets/{DATASET}/data/train.parquet")["size"],
        "fs glob": lambda: paths(fs().glob(f"{MODEL}/**/*.json")),
        "fs glob commit": lambda: paths(fs().glob(f"{MODEL}@{commit}/*.json")),
        "fs find": lambda: paths(fs().find(f"datasets/{DATASET}")),
        "fs exists": lambda: [
            fs().exists(f"{MODEL}/{name}") for name in ("config.json", "no.such", "deep", "deep/down/two.json")
        ],
        "fs isdir": lambda: [fs().isdir(f"{MODEL}/{name}") for name in ("config.json", "deep")],
        "fs read": lambda: read(f"{MODEL}/config.json"),
        "fs cat": lambda: fs().read_text(f"{MODEL}/deep/one.json"),
        "file main": lambda: file("config.json"),
        "file again": lambda: file("config.json"),
        "file empty": lambda: file("empty.txt"),
        "file large": lambda: file("model.safetensors"),
        "file absent": lambda: file("no.such"),
        "file absent in cache": lambda: type(try_to_load_from_cache(MODEL, "no.such", cache_dir=cache / "a")).__name__,
        "file branch": lambda: file("config.json", revision="feature/one"),
        "file pr": lambda: file("config.json", revision="refs/pr/1"),
        "file tag": lambda: file("config.json", revision="v1.0"),
        "file commit": lambda: file("deep/down/two.json", revision=commit, into="c"),
        "file short commit": lambda: file("config.json", revision=commit[:8], into="c"),
        "file no revision": lambda: file("config.json", revision="no-such", into="c"),
        "file subfolder": lambda: file("two.json", subfolder="deep/down"),
        "file forced": lambda: file("config.json", force_download=True),
        "file forced large": lambda: file("model.safetensors", force_download=True),
        "file etag_timeout": lambda: file("deep/one.json", etag_timeout=3, into="d"),
        "file only local": lambda: file("config.json", local_files_only=True),
        "file only local absent": lambda: file("deep/down/two.json", local_files_only=True, into="d"),
        "file renamed": lambda: file("config.json", RENAMED),
        "file missing repo": lambda: file("config.json", "many/missing"),
        "file gated": lambda: file("config.json", GATED, token="hf_of_a_stranger"),
        "file gated reader": lambda: file("config.json", GATED, token="hf_of_a_reader"),
        "file token": lambda: file("config.json", token="hf_of_a_reader", into="t"),
        "file no token": lambda: file("config.json", token=False, into="t"),
        "file dataset": lambda: file("data/train.parquet", DATASET, repo_type="dataset"),
        "file space": lambda: file("app.py", SPACE, repo_type="space"),
        "file odd name": lambda: file("odd name é+%41.txt"),
        "snapshot": whole,
        "snapshot again": whole,
        "snapshot branch": lambda: whole(revision="feature/one"),
        "snapshot pr": lambda: whole(revision="refs/pr/1"),
        "snapshot tag": lambda: whole(revision="v1.0"),
        "snapshot commit": lambda: whole(revision=commit, into="e"),
        "snapshot dataset": lambda: whole(DATASET, repo_type="dataset"),
        "snapshot space": lambda: whole(SPACE, repo_type="space"),
        "snapshot patterns": lambda: whole(allow_patterns=["*.json"], ignore_patterns=["deep/down/*"], into="f"),
        "snapshot nothing": lambda: whole(allow_patterns=["*.no"], into="f"),
        "snapshot forced": lambda: whole(force_download=True, allow_patterns="*.json"),
        "snapshot one by one": lambda: whole(max_workers=1, into="g"),
        "snapshot only local": lambda: whole(local_files_only=True),
        "snapshot renamed": lambda: whole(RENAMED),
        "snapshot gated": lambda: whole(GATED, token="hf_of_a_stranger"),
        "snapshot local_dir": lambda: tree(snapshot_download(MODEL, local_dir=cache / "local")),
        "snapshot local_dir again": lambda: tree(snapshot_download(MODEL, local_dir=cache / "local")),
        "snapshot local_dir commit": lambda: tree(snapshot_download(MODEL, revision=commit, local_dir=cache / "local2")),
        "file local_dir": lambda: digest(hf_hub_download(MODEL, "deep/one.json", local_dir=cache / "local3")),
    }
    return many


def main() -> None:
    plan = json.loads(sys.argv[1])
    cache = Path(os.path.abspath(f"caches-{os.getpid()}"))  # noqa: PTH100
    cache.mkdir()
    said: dict[str, Any] = {}
    for name, do in calls(plan["commit"], cache).items():
        if plan.get("names") and name not in plan["names"]:
            continue
        try:
            said[name] = do()
        except Exception as error:
            said[name] = type(error).__name__
    print(json.dumps({"said": said, "left": left_in(cache)}))


if __name__ == "__main__":
    main()
