"""What programs ask of the Hub with huggingface_hub, in one program that knows nothing of llmpt: one name per call.

Run by the Python of an environment: `hub_calls.py REPO BIG_FILE` prints a JSON object, name → what came of it, the same for
every version from 0.23 to 2.4 and for every Hub that tells the truth. A call that failed says how: it is what the caller sees.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, HfFileSystem, get_hf_file_metadata, hf_hub_download, hf_hub_url, snapshot_download

api = HfApi()


def digests(folder: str | Path) -> dict[str, str]:
    """Path → SHA-256 of the files below `folder`, less what the library keeps beside them."""
    found = {path.relative_to(folder).as_posix(): path for path in Path(folder).rglob("*") if path.is_file()}
    theirs = (".cache/", ".huggingface/")
    return {n: hashlib.sha256(p.read_bytes()).hexdigest() for n, p in sorted(found.items()) if not n.startswith(theirs)}


def download_by_command(repo: str, big: str) -> Any:
    programs = (Path(sys.executable).with_name(name) for name in ("hf", "huggingface-cli"))
    program = next(path for path in programs if path.exists())
    done = subprocess.run([str(program), "download", repo], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return digests(hf_hub_download(repo, big, local_files_only=True)[: -len(big)])


def download_with_patterns(repo: str, big: str) -> Any:
    return digests(snapshot_download(repo, allow_patterns=["*.json", "nested/*"], ignore_patterns=big, local_dir="patterns"))


def download_into_a_folder(repo: str, big: str) -> Any:
    return digests(snapshot_download(repo, local_dir="folder"))


def download_by_commit(repo: str, big: str) -> Any:
    commit = api.model_info(repo).sha
    return Path(hf_hub_download(repo, "config.json", revision=commit)).parent.name == commit


def metadata_of_a_file(repo: str, big: str) -> Any:
    found = get_hf_file_metadata(hf_hub_url(repo, big))
    return [found.commit_hash, found.etag, found.size]


def model_info(repo: str, big: str) -> Any:
    found = api.model_info(repo, files_metadata=True)
    siblings = sorted([one.rfilename, one.size, one.blob_id, one.lfs and one.lfs.sha256] for one in found.siblings or ())
    return [found.id, found.sha, bool(found.private), bool(found.gated), siblings]


def list_repo_files(repo: str, big: str) -> Any:
    return sorted(api.list_repo_files(repo))


def list_repo_tree(repo: str, big: str) -> Any:
    everything = sorted([one.path, getattr(one, "size", None)] for one in api.list_repo_tree(repo, recursive=True, expand=True))
    below = sorted(one.path for one in api.list_repo_tree(repo, "nested"))
    return [everything, below]


def get_paths_info(repo: str, big: str) -> Any:
    return sorted([one.path, one.size, one.blob_id] for one in api.get_paths_info(repo, [big, "config.json", "no-such-file"]))  # type: ignore[union-attr]


def list_repo_refs(repo: str, big: str) -> Any:
    found = api.list_repo_refs(repo)
    return [[one.name, one.ref, one.target_commit] for one in found.branches], [one.name for one in found.tags]


def list_repo_commits(repo: str, big: str) -> Any:
    return [one.commit_id for one in api.list_repo_commits(repo)]


def list_models(repo: str, big: str) -> Any:
    return [[one.id for one in api.list_models(search=word, limit=10)] for word in (repo.partition("/")[2], "no-such-model")]


def what_exists(repo: str, big: str) -> Any:
    repos = [api.repo_exists(repo), api.repo_exists("acme/no-such-model"), api.repo_exists(repo, repo_type="dataset")]
    revisions = [api.revision_exists(repo, name) for name in ("main", "no-such-branch")]
    return [repos, revisions, [api.file_exists(repo, name) for name in (big, "no-such-file")]]


def what_does_not_exist(repo: str, big: str) -> Any:
    def refusal(*arguments: Any, **options: Any) -> str:
        try:
            return str(hf_hub_download(*arguments, **options))
        except Exception as error:
            kinds = [kind.__name__ for kind in type(error).__mro__]
            return next(
                name for name in kinds if name in ("EntryNotFoundError", "RevisionNotFoundError", "RepositoryNotFoundError")
            )

    return [refusal(repo, "no-such-file"), refusal(repo, big, revision="nowhere"), refusal("acme/no-such-model", big)]


def file_system(repo: str, big: str) -> Any:
    files: Any = HfFileSystem()
    listed = sorted([one["name"], one["size"]] for one in files.ls(repo))
    with files.open(f"{repo}/{big}", "rb") as opened:
        opened.seek(1_000_000)
        part = opened.read(100_000)
    target = Path("by-file-system").absolute()
    files.get_file(f"{repo}/{big}", str(target))
    whole = hashlib.sha256(target.read_bytes()).hexdigest()
    return [listed, sorted(files.glob(f"{repo}/*.json")), hashlib.sha256(part).hexdigest(), whole, files.exists(f"{repo}/nope")]


CALLS: dict[str, Callable[[str, str], Any]] = {
    call.__name__: call
    for call in (
        download_by_command,
        download_with_patterns,
        download_into_a_folder,
        download_by_commit,
        metadata_of_a_file,
        model_info,
        list_repo_files,
        list_repo_tree,
        get_paths_info,
        list_repo_refs,
        list_repo_commits,
        list_models,
        what_exists,
        what_does_not_exist,
        file_system,
    )
}


def outcome(call: Callable[[str, str], Any], repo: str, big: str) -> Any:
    try:
        return call(repo, big)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def main(repo: str, big: str) -> None:
    print(json.dumps({name: outcome(call, repo, big) for name, call in CALLS.items()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
