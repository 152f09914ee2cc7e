"""The folder that crosses an air gap, and what must be true of it.

    llmpt-export.json                      {"format": 1, "revisions": [...]}, for people and programs that look into it
    manifests/<repo folder>@<commit>.json  the files of a commit, and which of them are in this folder
    blobs/<etag>                           content; a file has this name only after it was verified and is on the disk
    torrents/<etag>.torrent                the metainfo of what has a swarm

The reader believes nothing: every name is checked, and every blob against its etag.
"""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from llmpt.archive.disk import directory, read_whole, write_whole
from llmpt.core.blob import Etag
from llmpt.core.errors import InvalidInput, LlmptError
from llmpt.core.repo import Commit, RefName, RepoPath, RepoRef
from llmpt.tracker.catalogue import File, Manifest

FORMAT = 1
INDEX = "llmpt-export.json"
FOLDERS = ("blobs", "manifests", "torrents")
MAX_MANIFEST_BYTES = 256 << 20


class ExportFolder:
    """The folder at `root`. `open` an existing one, `create` one or go on with it."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    def create(cls, root: Path) -> ExportFolder:
        """Make the folder, or go on with what an earlier export left there."""
        folder = cls(root)
        if (root / INDEX).exists():
            folder._check_format()
        for name in FOLDERS:
            (root / name).mkdir(parents=True, exist_ok=True)
            with directory(root / name):
                pass
        return folder

    @classmethod
    def open(cls, root: Path) -> ExportFolder:
        """Raise `LlmptError` unless `llmpt export` has made it."""
        if not (root / INDEX).is_file():
            raise LlmptError(f"{root} is no export: it has no {INDEX}; `llmpt export REPO --to DIR` makes one")
        folder = cls(root)
        folder._check_format()
        for name in FOLDERS:
            with suppress(FileNotFoundError), directory(root / name):
                pass
        return folder

    def blob(self, etag: Etag) -> Path:
        return self.root / "blobs" / etag.value

    def torrent(self, etag: Etag) -> Path:
        return self.root / "torrents" / f"{etag}.torrent"

    def has(self, etag: Etag, size_bytes: int) -> bool:
        """Whether the blob lies here under its name, of the right size: then it was verified before."""
        try:
            found = self.blob(etag).lstat()
            return stat.S_ISREG(found.st_mode) and found.st_size == size_bytes
        except OSError:
            return False

    def manifests(self) -> list[Path]:
        return sorted((self.root / "manifests").glob("*@*.json"))

    def write_manifest(self, manifest: Manifest) -> None:
        """Write a commit's files; `here` is what lies in this folder."""
        files = [
            {
                "path": file.path.value,
                "size": file.size_bytes,
                "etag": file.etag.value,
                "lfs": file.etag.is_sha256,
                "here": self.has(file.etag, file.size_bytes),
            }
            for file in manifest.files
        ]
        document = {
            "format": FORMAT,
            "repo_type": manifest.ref.type,
            "repo_id": manifest.ref.id,
            "commit": manifest.commit.value,
            "refs": list(map(str, manifest.refs)),
            "complete": manifest.complete,
            "files": files,
        }
        write_whole(self.root / "manifests" / _name(manifest.ref, manifest.commit), _encode(document))

    def write_index(self) -> None:
        """Write the table of contents anew, from the manifests that are there."""
        revisions = []
        for path in self.manifests():
            try:
                manifest = read_manifest(path)
            except (InvalidInput, OSError):
                continue
            revisions.append(
                {
                    "repo_type": manifest.ref.type,
                    "repo_id": manifest.ref.id,
                    "commit": manifest.commit.value,
                    "refs": list(map(str, manifest.refs)),
                    "complete": manifest.complete,
                    "files": len(manifest.files),
                    "files_here": sum(file.here for file in manifest.files),
                    "bytes_here": bytes_here(manifest),
                }
            )
        write_whole(self.root.resolve() / INDEX, _encode({"format": FORMAT, "revisions": revisions}))

    def _check_format(self) -> None:
        try:
            found = json.loads(read_whole(self.root.resolve() / INDEX, MAX_MANIFEST_BYTES))["format"]
        except OSError as error:
            raise LlmptError(f"{self.root / INDEX} cannot be read: {error.strerror}") from None
        except (ValueError, TypeError, KeyError, RecursionError):
            found = None
        if found != FORMAT:
            raise LlmptError(f"{self.root / INDEX} is of format {found!r:.40}, and this llmpt reads {FORMAT}: update it")


def bytes_here(manifest: Manifest) -> int:
    """Return the size of the files that are here, of each content once."""
    return sum({file.etag: file.size_bytes for file in manifest.files if file.here}.values())


def read_manifest(path: Path) -> Manifest:
    """Read a manifest that was brought here; raise `InvalidInput` for anything in it that is invalid."""
    try:
        document = json.loads(read_whole(path, MAX_MANIFEST_BYTES))
        if document["format"] != FORMAT:
            raise InvalidInput(f"of format {document['format']!r:.40}; this llmpt reads {FORMAT}")
        ref = RepoRef(document["repo_type"], document["repo_id"])
        commit = Commit(document["commit"])
        refs = tuple(map(RefName, document["refs"]))
        files = tuple(_files(document["files"]))
        manifest = Manifest(ref, commit, refs, document["complete"] is True, files)
    except InvalidInput:
        raise
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise InvalidInput(f"not a manifest ({type(error).__name__}: {error})") from None
    if path.name != _name(ref, commit):
        raise InvalidInput(f"it says that it is {_name(ref, commit)}")
    return manifest


def _files(rows: list[Mapping[str, Any]]) -> Iterator[File]:
    seen: set[RepoPath] = set()
    for row in rows:
        path, size, etag = RepoPath(row["path"]), row["size"], Etag(row["etag"])
        if type(size) is not int or size < 0:
            raise InvalidInput(f"{path} has a size of {size!r:.40}")
        if path in seen:
            raise InvalidInput(f"{path} stands there twice")
        seen.add(path)
        yield File(path, size, etag, row["here"] is True)


def _name(ref: RepoRef, commit: Commit) -> str:
    return f"{ref.folder}@{commit}.json"


def _encode(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, indent=1).encode() + b"\n"
