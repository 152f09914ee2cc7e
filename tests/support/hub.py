"""A stand-in for the Hub: serves repos from memory or from a Hub cache, counts every request, and can be told to misbehave.

It needs the standard library only and lies in one file, so that it also runs as a script in a bare container::

    python hub.py --cache ~/.cache/huggingface/hub --port 8080 --refuse-bytes-over 1048576

    GET  /_counts   what was asked so far: {"requests": […], "gets": {path: n}, "byte_gets": n, "bytes_sent": n}
    POST /_mode     JSON with any of the fields of Mode, e.g. {"refuse_bytes_over": null, "throttle_bytes_s": 100000}

In a test, `with FakeHub() as hub:` runs it in a thread; `hub.add(...)` makes commits, `hub.gets(path)` counts.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

KEYWORDS = {"resolve", "raw", "revision", "tree", "paths-info", "refs", "commits", "auth-check", "discussions", "xet-read-token"}
LFS_SUFFIXES = (".safetensors", ".bin", ".parquet", ".onnx", ".h5", ".gguf")
HEX40 = re.compile(r"[0-9a-f]{40}")
DATE = "2024-01-01T00:00:00.000Z"
CHUNK = 64 << 10


@dataclass(frozen=True)
class File:
    """One file of a commit. `content` is its bytes, or where they lie."""

    content: bytes | Path
    size: int
    etag: str
    lfs: bool

    @classmethod
    def of(cls, content: bytes, *, lfs: bool) -> File:
        if lfs:
            return cls(content, len(content), hashlib.sha256(content).hexdigest(), True)
        return cls(content, len(content), hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest(), False)

    @classmethod
    def at(cls, path: Path) -> File:
        """A file of a Hub cache: its blob's name is its etag; a plain file in a snapshot is hashed."""
        name = path.resolve().name
        if re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", name) and path.is_symlink():
            etag = name if path.readlink().name == name else path.readlink().name
            return cls(path, path.stat().st_size, etag, len(etag) == 64)
        found = cls.of(path.read_bytes(), lfs=path.name.endswith(LFS_SUFFIXES))
        return cls(path, found.size, found.etag, found.lfs)

    def read(self, start: int, stop: int) -> bytes:
        if isinstance(self.content, bytes):
            return self.content[start:stop]
        with self.content.open("rb") as source:
            source.seek(start)
            return source.read(stop - start)

    @property
    def oid(self) -> str:
        """What the API calls oid: git's SHA-1, which for an LFS file is that of its pointer."""
        if not self.lfs:
            return self.etag
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.etag}\nsize {self.size}\n".encode()
        return hashlib.sha1(b"blob %d\0" % len(pointer) + pointer).hexdigest()


@dataclass
class Repo:
    type: str
    id: str
    commits: dict[str, dict[str, File]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    private: bool = False
    gated: bool = False

    def commit_of(self, revision: str) -> str | None:
        return revision if revision in self.commits else self.refs.get(revision)


@dataclass
class Request:
    """One request, noted before its answer goes out. `path` is the file's in its repo; for API calls it is the raw path."""

    method: str
    raw_path: str
    repo_type: str
    repo_id: str
    revision: str
    path: str
    status: int
    bytes_sent: int
    range: str
    authorized: bool


@dataclass
class Mode:
    """How it behaves. None: as the Hub would."""

    refuse_bytes_over: int | None = None  # GETs of files of at least so many bytes get a 403
    throttle_bytes_s: int | None = None  # per connection
    cut_after_bytes: int | None = None  # the connection breaks after so many bytes of a body
    fail_status: int | None = None  # every request but ours gets this status
    ignore_ranges: bool = False  # whoever asks for a part gets the whole


class _Refusal(Exception):
    def __init__(self, status: int, code: str, message: str, *, commit: str | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.commit = status, code, message, commit


class FakeHub:
    """The server. A context manager: listens on entering, closes on leaving."""

    def __init__(self, *, cache: Path | None = None, host: str = "127.0.0.1", port: int = 0) -> None:
        self.mode = Mode()
        self.requests: list[Request] = []
        self.repos: dict[tuple[str, str], Repo] = {}
        self._lock = threading.Lock()
        if cache is not None:
            self.add_cache(cache)
        handler = type("Handler", (_Handler,), {"hub": self})
        self._server = _Server((host, port), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> FakeHub:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)

    def add(
        self,
        repo_id: str,
        files: Mapping[str, bytes],
        *,
        repo_type: str = "model",
        refs: tuple[str, ...] = ("main",),
        commit: str | None = None,
        private: bool = False,
        gated: bool = False,
    ) -> str:
        """Make a commit and move `refs` to it; return its id."""
        made = {path: File.of(content, lfs=path.endswith(LFS_SUFFIXES)) for path, content in files.items()}
        commit = commit or hashlib.sha1(repr(sorted((path, file.etag) for path, file in made.items())).encode()).hexdigest()
        with self._lock:
            repo = self.repos.setdefault((repo_type, repo_id), Repo(repo_type, repo_id))
            repo.private, repo.gated = private, gated
            repo.commits[commit] = made
            repo.refs.update(dict.fromkeys(refs, commit))
        return commit

    def add_cache(self, cache: Path) -> None:
        """Add what lies in the folder layout of a Hub cache."""
        for folder in sorted(cache.glob("*s--*")):
            kind, _, name = folder.name.partition("--")
            repo = Repo(kind[:-1], name.replace("--", "/"))
            for snapshot in (folder / "snapshots").glob("*"):
                found = (path for path in sorted(snapshot.rglob("*")) if path.is_file())
                repo.commits[snapshot.name] = {path.relative_to(snapshot).as_posix(): File.at(path) for path in found}
            for ref in (folder / "refs").rglob("*"):
                if ref.is_file():
                    repo.refs[ref.relative_to(folder / "refs").as_posix()] = ref.read_text().strip()
            self.repos[repo.type, repo.id] = repo

    def file(self, repo_id: str, path: str, *, repo_type: str = "model", revision: str = "main") -> File:
        repo = self.repos[repo_type, repo_id]
        return repo.commits[repo.commit_of(revision) or ""][path]

    def note(self, request: Request) -> None:
        with self._lock:
            self.requests.append(request)

    def forget(self) -> None:
        """Set the counts to zero."""
        with self._lock:
            self.requests.clear()

    def gets(self, path: str) -> int:
        """How often the bytes of this file, or a part of them, were asked for."""
        return sum(r.path == path for r in self._byte_requests())

    @property
    def byte_gets(self) -> int:
        """How many GETs of files there were."""
        return len(self._byte_requests())

    @property
    def bytes_sent(self) -> int:
        """How many bytes of files went out."""
        return sum(r.bytes_sent for r in self._byte_requests())

    def _byte_requests(self) -> list[Request]:
        with self._lock:
            return [r for r in self.requests if r.method == "GET" and r.revision and r.path != r.raw_path]

    def counts(self) -> dict[str, Any]:
        asked = self._byte_requests()
        return {
            "requests": [asdict(r) for r in list(self.requests)],
            "gets": dict(Counter(r.path for r in asked)),
            "byte_gets": len(asked),
            "bytes_sent": sum(r.bytes_sent for r in asked),
        }


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], OSError):  # a client that went away is none of our concern
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    hub: FakeHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._serve()

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def _serve(self) -> None:
        self._where = ("", "", "", self.path)
        self._body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path, _, query = self.path.partition("?")
        if path == "/_counts":
            return self._json(self.hub.counts(), note=False)
        if path == "/_mode":
            known = {f.name for f in fields(Mode)}
            for name, value in json.loads(self._body or b"{}").items():
                if name in known:
                    setattr(self.hub.mode, name, value)
            return self._json(asdict(self.hub.mode), note=False)
        try:
            if self.hub.mode.fail_status is not None:
                raise _Refusal(self.hub.mode.fail_status, "", "told to fail")
            self._route([part for part in path.split("/") if part], parse_qs(query))
        except _Refusal as no:
            headers = {"X-Error-Message": no.message}
            headers.update({"X-Error-Code": no.code} if no.code else {})
            headers.update({"X-Repo-Commit": no.commit} if no.commit else {})
            self._json({"error": no.message}, status=no.status, headers=headers)

    def _route(self, parts: list[str], query: dict[str, list[str]]) -> None:
        api = parts[:1] == ["api"]
        if api:
            parts = parts[1:]
            if parts[:1] == ["whoami-v2"]:
                raise _Refusal(401, "", "Invalid username or password.")
            if parts[:1] == ["telemetry"]:
                return self._json({})
            if not parts or parts[0] not in ("models", "datasets", "spaces", "kernels"):
                raise _Refusal(404, "", "Not Found")
        kind = "model"
        if parts[:1] and parts[0] in ("models", "datasets", "spaces", "kernels"):
            kind, parts = parts[0][:-1], parts[1:]
        if api and not parts:
            return self._json([self._info(repo, None) for repo in self.hub.repos.values() if repo.type == kind])
        at = next((i for i in (1, 2) if i < len(parts) and parts[i] in KEYWORDS), len(parts))
        repo = self._repo(kind, unquote("/".join(parts[:at])))
        keyword, rest = (parts[at], parts[at + 1 :]) if at < len(parts) else ("", [])
        self._where = (kind, repo.id, "", self.path)
        if not api:
            if keyword not in ("resolve", "raw") or len(rest) < 2:
                raise _Refusal(404, "EntryNotFound", "Not Found")
            return self._resolve(repo, *self._revision(rest))
        if keyword == "refs":
            return self._json(self._refs(repo))
        if keyword == "auth-check":
            return self._json({})
        if keyword in ("discussions", "xet-read-token"):
            raise _Refusal(404 if keyword == "xet-read-token" else 403, "", "Not here")
        revision, tail = self._revision(rest) if rest else ("main", [])
        commit = repo.commit_of(revision)
        if commit is None:
            raise _Refusal(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        if keyword == "tree":
            return self._json(self._tree(repo.commits[commit], unquote("/".join(tail)), query))
        if keyword == "paths-info":
            return self._json(self._paths_info(repo.commits[commit]))
        if keyword == "commits":
            return self._json([{"id": commit, "title": "a commit", "message": "", "authors": [], "date": DATE}])
        return self._json(self._info(repo, commit, blobs="blobs" in query))

    def _repo(self, kind: str, repo_id: str) -> Repo:
        repo = self.hub.repos.get((kind, repo_id))
        if repo is None or (repo.private and "Authorization" not in self.headers):
            raise _Refusal(401, "RepoNotFound", "Repository Not Found")
        return repo

    def _revision(self, rest: list[str]) -> tuple[str, list[str]]:
        if rest[0] == "refs" and len(rest) > 2:  # refs/pr/1 may come unquoted
            return "/".join(rest[:3]), rest[3:]
        return unquote(rest[0]), rest[1:]

    def _resolve(self, repo: Repo, revision: str, rest: list[str]) -> None:
        path = "/".join(map(unquote, rest))
        self._where = (repo.type, repo.id, revision, path)
        if repo.gated and "Authorization" not in self.headers:
            raise _Refusal(401, "GatedRepo", "Access to this repo is restricted.")
        commit = repo.commit_of(revision)
        if commit is None:
            raise _Refusal(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        file = repo.commits[commit].get(path)
        if file is None:
            raise _Refusal(404, "EntryNotFound", "Entry not found", commit=commit)
        limit = self.hub.mode.refuse_bytes_over
        if self.command == "GET" and limit is not None and file.size >= limit:
            raise _Refusal(403, "", f"This Hub refuses the bytes of files of {limit} bytes and more.")
        headers = {"X-Repo-Commit": commit, "ETag": f'"{file.etag}"', "Accept-Ranges": "bytes"}
        if file.lfs:
            headers |= {"X-Linked-Etag": f'"{file.etag}"', "X-Linked-Size": str(file.size)}
        start, stop, status = 0, file.size, 200
        asked = None if self.hub.mode.ignore_ranges else re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if asked:
            first, last = asked.groups()
            start = int(first) if first else max(0, file.size - int(last or 0))
            stop = min(file.size, int(last) + 1) if first and last else file.size
            if start >= file.size:
                headers["Content-Range"] = f"bytes */{file.size}"
                return self._send(416, headers, File.of(b"", lfs=False), 0, 0)
            headers["Content-Range"], status = f"bytes {start}-{stop - 1}/{file.size}", 206
        return self._send(status, headers, file, start, stop)

    def _tree(self, files: Mapping[str, File], below: str, query: dict[str, list[str]]) -> list[dict[str, Any]]:
        recursive = query.get("recursive", ["false"])[0].lower() in ("true", "1")
        prefix = f"{below}/" if below else ""
        entries: dict[str, dict[str, Any]] = {}
        for path, file in files.items():
            if path.startswith(prefix):
                parts = path[len(prefix) :].split("/")
                for depth in range(1, len(parts) if recursive else min(len(parts), 2)):
                    folder = prefix + "/".join(parts[:depth])
                    entries[folder] = {"type": "directory", "path": folder, "oid": "0" * 40, "size": 0}
                if recursive or len(parts) == 1:
                    entries[path] = _entry(path, file)
        if below and not entries:
            raise _Refusal(404, "EntryNotFound", f"{below} does not exist")
        return [entries[path] for path in sorted(entries)]

    def _paths_info(self, files: Mapping[str, File]) -> list[dict[str, Any]]:
        if self.headers.get("Content-Type", "").startswith("application/json"):
            asked = json.loads(self._body).get("paths", [])
        else:
            asked = parse_qs(self._body.decode()).get("paths", [])
        return [_entry(path, files[path]) for path in asked if path in files]

    def _refs(self, repo: Repo) -> dict[str, Any]:
        def entry(name: str, commit: str) -> dict[str, str]:
            return {"name": name, "ref": name if name.startswith("refs/") else f"refs/heads/{name}", "targetCommit": commit}

        pulls = {name: commit for name, commit in repo.refs.items() if name.startswith("refs/pr/")}
        branches = [entry(name, commit) for name, commit in repo.refs.items() if name not in pulls]
        return {"branches": branches, "converts": [], "tags": [], "pullRequests": [entry(*pull) for pull in pulls.items()]}

    def _info(self, repo: Repo, commit: str | None, *, blobs: bool = False) -> dict[str, Any]:
        commit = commit or repo.commit_of("main") or next(iter(repo.commits), "")
        siblings: list[dict[str, Any]] = []
        for path, file in repo.commits.get(commit, {}).items():
            more: dict[str, Any] = {"size": file.size, "blobId": file.oid} if blobs else {}
            if blobs and file.lfs:
                more["lfs"] = {"sha256": file.etag, "size": file.size, "pointerSize": 134}
            siblings.append({"rfilename": path, **more})
        return {
            "id": repo.id,
            "modelId": repo.id,
            "author": repo.id.partition("/")[0],
            "sha": commit,
            "siblings": siblings,
            "private": repo.private,
            "gated": "auto" if repo.gated else False,
            "disabled": False,
            "tags": [],
            "downloads": 0,
            "likes": 0,
            "lastModified": DATE,
            "createdAt": DATE,
        }

    def _json(self, value: Any, *, status: int = 200, headers: Mapping[str, str] | None = None, note: bool = True) -> None:
        body = File.of(json.dumps(value).encode(), lfs=False)
        more = {"Content-Type": "application/json", **(headers or {})}
        self._send(status, more, body, 0, body.size, note=note, limits=False)

    def _send(
        self,
        status: int,
        headers: Mapping[str, str],
        file: File,
        start: int,
        stop: int,
        *,
        note: bool = True,
        limits: bool = True,
    ) -> None:
        mode, sent = self.hub.mode, 0
        request = Request(
            self.command, self.path, *self._where, status, 0, self.headers.get("Range", ""), "Authorization" in self.headers
        )
        if note:
            self.hub.note(request)
        self.send_response(status)
        for name, value in {"Content-Type": "application/octet-stream", **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(stop - start))
        self.end_headers()
        cut = mode.cut_after_bytes if limits and mode.cut_after_bytes is not None else stop - start
        while self.command != "HEAD" and start + sent < stop:
            room = min(CHUNK, stop - start - sent, cut - sent)
            if room <= 0:
                self.close_connection = True
                break
            sent += room
            request.bytes_sent = sent
            self.wfile.write(file.read(start + sent - room, start + sent))
            if limits and mode.throttle_bytes_s:
                time.sleep(room / mode.throttle_bytes_s)  # this is the link's speed, not a wait for something


def _entry(path: str, file: File) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": "file", "path": path, "size": file.size, "oid": file.oid}
    if file.lfs:
        entry["lfs"] = {"oid": file.etag, "size": file.size, "pointerSize": 134}
    return entry


def main() -> None:
    parser = argparse.ArgumentParser(description="A stand-in for the Hub")
    parser.add_argument("--cache", type=Path, help="a Hub cache to serve")
    parser.add_argument("--files", type=Path, help="a folder whose files become one repo at main")
    parser.add_argument("--repo", default="org/model", help="the id of the repo made by --files")
    parser.add_argument("--host", default="0.0.0.0")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--refuse-bytes-over", type=int, help="refuse GETs of files of at least so many bytes")
    options = parser.parse_args()
    hub = FakeHub(cache=options.cache, host=options.host, port=options.port)
    hub.mode.refuse_bytes_over = options.refuse_bytes_over
    if options.files:
        found = {p.relative_to(options.files).as_posix(): p.read_bytes() for p in options.files.rglob("*") if p.is_file()}
        hub.add(options.repo, found)
    print(hub.url, flush=True)
    with hub:
        threading.Event().wait()


if __name__ == "__main__":
    main()
