"""A stand-in for the Hub: serves repos from memory or from a Hub cache, counts every request, and can be told to misbehave.

It needs the standard library only and lies in one file, so that it also runs as a script in a bare container::

    python hub.py --cache ~/.cache/huggingface/hub --port 8080 --refuse-bytes-over 1048576

    GET  /_counts   what was asked so far: {"requests": […], "gets": {path: n}, "heads": {path: n}, "bytes_sent": n, …}
    POST /_mode     JSON with any of the fields of Mode, e.g. {"refuse_bytes_over": null, "throttle_bytes_s": 100000}

In a test, `with FakeHub() as hub:` runs it in a thread; `hub.add(...)` makes commits, `hub.gets(path)` counts.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import select
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

KEYWORDS = {"resolve", "raw", "revision", "tree", "paths-info", "refs", "commits", "auth-check", "discussions", "xet-read-token"}
KINDS = ("models", "datasets", "spaces", "kernels")
LFS_SUFFIXES = (".safetensors", ".bin", ".parquet", ".onnx", ".h5", ".gguf")
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
        etag = hashlib.sha256(content).hexdigest() if lfs else _git_sha1(content)
        return cls(content, len(content), etag, lfs)

    @classmethod
    def at(cls, path: Path) -> File:
        """A file of a Hub cache: its blob's name is its etag; a plain file in a snapshot is hashed."""
        etag = path.readlink().name if path.is_symlink() else ""
        if re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", etag):
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
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.etag}\nsize {self.size}\n"
        return _git_sha1(pointer.encode()) if self.lfs else self.etag


def _files_below(folder: Path) -> list[tuple[str, Path]]:
    return [(path.relative_to(folder).as_posix(), path) for path in sorted(folder.rglob("*")) if path.is_file()]


def _git_sha1(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@dataclass
class Repo:
    type: str
    id: str
    commits: dict[str, dict[str, File]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)  # branches, and refs/pr/1, refs/convert/parquet
    tags: dict[str, str] = field(default_factory=dict)
    private: bool = False
    gated: bool = False
    moved_to: str = ""  # the id that it has now: the Hub redirects to it
    readers: frozenset[str] | None = None  # tokens that may read it, where it is private or gated; None: any
    about: dict[str, Any] = field(default_factory=dict)  # what the Hub has found out: its task, library, tags, its card

    def is_open_to(self, authorization: str | None) -> bool:
        """Whether the holder of a token may read it though it is private or gated."""
        token = (authorization or "").removeprefix("Bearer ")
        return token in self.readers if self.readers is not None else authorization is not None

    def commit_of(self, revision: str) -> str | None:
        if revision in self.commits:
            return revision
        return self.refs.get("main" if revision == "HEAD" else revision, self.tags.get(revision))


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
    client: str  # the asker's address
    program: str = ""  # its User-Agent


@dataclass
class Mode:
    """How it behaves; None: as the Hub would. A change also concerns the bodies that are on their way."""

    refuse_bytes_over: int | None = None  # GETs of files of at least so many bytes get a 403
    throttle_bytes_s: int | None = None  # per connection
    total_rate_bytes_s: int | None = None  # of all connections together
    cut_after_bytes: int | None = None  # the connection breaks after so many bytes of a body
    stall_after_bytes: int | None = None  # nothing comes after so many bytes of a body, and the connection stays open
    fail_status: int | None = None  # every request but ours gets this status
    fail_gets_status: int | None = None  # the same for the GETs of files; HEADs and API are well
    fail_api_status: int | None = None  # the same for the API; files are well
    healthy_first: int = 0  # so many requests are answered before `fail_status` or `is_silent` counts
    retry_after_s: int | None = None  # such an answer's Retry-After
    hides_etags: bool = False  # of a file's bytes it says how many they are, and no more
    is_silent: bool = False  # connections are taken and requests are read, and nothing comes
    only_for: str | None = None  # cuts, stalls and failures strike this address and no other
    ignore_ranges: bool = False  # whoever asks for a part gets the whole
    delay_s: float = 0.0  # every request waits so long, as the Internet's round trip makes it
    requests_in_window: int | None = None  # so many requests of one address get an answer within `window_s`, then 429
    window_s: float = 300.0  # as the Hub has it, with 3,000 of them for an address without a token


class _Refusal(Exception):
    def __init__(self, status: int, code: str, message: str, *, commit: str | None = None, location: str = "") -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.commit, self.location = status, code, message, commit, location


class FakeHub:
    """The server. A context manager: listens on entering, closes on leaving."""

    def __init__(self, *, cache: Path | None = None, host: str = "127.0.0.1", port: int = 0) -> None:
        self.mode = Mode()
        self.requests: list[Request] = []
        self.repos: dict[tuple[str, str], Repo] = {}
        self._lock = threading.Lock()
        self._link_free_at = 0.0
        self._windows: dict[str, tuple[float, int]] = {}  # of each address: when its window began, and how much it asked in it
        self.closed = False
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
        self.closed = True
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
        tags: tuple[str, ...] = (),
        commit: str | None = None,
        private: bool = False,
        gated: bool = False,
    ) -> str:
        """Make a commit and move `refs` and `tags` to it; return its id."""
        made = {path: File.of(content, lfs=path.endswith(LFS_SUFFIXES)) for path, content in files.items()}
        commit = commit or hashlib.sha1(repr(sorted((path, file.etag) for path, file in made.items())).encode()).hexdigest()
        with self._lock:
            repo = self.repos.setdefault((repo_type, repo_id), Repo(repo_type, repo_id))
            repo.private, repo.gated = private, gated
            repo.commits[commit] = made
            repo.refs.update(dict.fromkeys(refs, commit))
            repo.tags.update(dict.fromkeys(tags, commit))
        return commit

    def add_cache(self, cache: Path) -> None:
        """Add what lies in the folder layout of a Hub cache."""
        for folder in sorted(cache.glob("*s--*")):
            kind, _, name = folder.name.partition("--")
            repo = self.repos[kind[:-1], name.replace("--", "/")] = Repo(kind[:-1], name.replace("--", "/"))
            for snapshot in (folder / "snapshots").glob("*"):
                repo.commits[snapshot.name] = {name: File.at(path) for name, path in _files_below(snapshot)}
            repo.refs.update((name, path.read_text().strip()) for name, path in _files_below(folder / "refs"))

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

    def heads(self, path: str) -> int:
        """How often somebody asked what this file is."""
        return sum(r.path == path for r in self._byte_requests("HEAD"))

    @property
    def byte_gets(self) -> int:
        """How many GETs of files there were."""
        return len(self._byte_requests())

    @property
    def bytes_sent(self) -> int:
        """How many bytes of files went out."""
        return sum(r.bytes_sent for r in self._byte_requests())

    def _byte_requests(self, method: str = "GET") -> list[Request]:
        with self._lock:
            return [r for r in self.requests if r.method == method and r.revision and r.path != r.raw_path]

    def counts(self) -> dict[str, Any]:
        return {
            "requests": [asdict(r) for r in list(self.requests)],
            "gets": dict(Counter(r.path for r in self._byte_requests())),
            "heads": dict(Counter(r.path for r in self._byte_requests("HEAD"))),
            "byte_gets": self.byte_gets,
            "bytes_sent": self.bytes_sent,
        }

    def left_s(self, client: str) -> int:
        """Count a request of an address; return 0, or in how many seconds one more is answered."""
        most, now = self.mode.requests_in_window, time.monotonic()
        if most is None:
            return 0
        with self._lock:
            began, count = self._windows.get(client, (now, 0))
            if now - began >= self.mode.window_s:
                began, count = now, 0
            self._windows[client] = (began, count + 1)
        return max(1, round(began + self.mode.window_s - now)) if count >= most else 0

    def is_well_once_more(self) -> bool:
        """Whether it is well for this request, since there were fewer than `healthy_first` before."""
        with self._lock:
            was_well = self.mode.healthy_first > 0
            self.mode.healthy_first -= was_well
        return was_well

    def wait_for_the_link(self, size: int, rate_bytes_s: int) -> None:
        """Return when the one link that all connections share has carried `size` bytes more."""
        with self._lock:
            self._link_free_at = max(self._link_free_at, time.monotonic()) + size / rate_bytes_s
            wait_s = self._link_free_at - time.monotonic()
        time.sleep(max(0.0, wait_s))


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], OSError):  # a client that went away is none of our concern
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    hub: FakeHub
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_: object) -> None:
        pass

    def _serve(self) -> None:
        self._where = ("", "", "", self.path)
        self._body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path, _, query = self.path.partition("?")
        if path == "/_counts":
            return self._json(self.hub.counts(), note=False)
        if path == "/_mode":
            self.hub.mode = replace(self.hub.mode, **json.loads(self._body or b"{}"))
            return self._json(asdict(self.hub.mode), note=False)
        is_well = self.hub.is_well_once_more()
        if self.hub.mode.is_silent and not is_well:
            return self._say_nothing()
        time.sleep(self.hub.mode.delay_s)
        left_s = self.hub.left_s(self.client_address[0])
        if left_s:
            words = {"error": "We had to rate limit your IP. To continue using our service, create a HF account."}
            return self._json(words, status=429, headers={"Retry-After": str(left_s), "RateLimit": f'"api";r=0;t={left_s}'})
        try:
            mode = self.hub.mode
            status = (mode.fail_status if not is_well else None) or (mode.fail_api_status if path.startswith("/api/") else None)
            if status is not None and self._troubled:
                raise _Refusal(status, "", "told to fail")
            self._route([part for part in path.split("/") if part], parse_qs(query))
        except _Refusal as no:
            after = self.hub.mode.retry_after_s
            headers = {
                "X-Error-Message": no.message,
                "X-Error-Code": no.code,
                "X-Repo-Commit": no.commit or "",
                "Location": no.location,
            }
            headers["Retry-After"] = "" if after is None or no.message != "told to fail" else str(after)
            self._json({"error": no.message}, status=no.status, headers={k: v for k, v in headers.items() if v})

    do_HEAD = do_GET = do_POST = _serve

    def _say_nothing(self) -> None:
        asker = (self.client_address[0], self.headers.get("User-Agent", ""))
        self.hub.note(Request(self.command, self.path, *self._where, 0, 0, "", False, *asker))
        while not self.hub.closed and not select.select([self.connection], [], [], 0.05)[0]:
            pass
        self.close_connection = True

    @property
    def _troubled(self) -> bool:
        return self.hub.mode.only_for in (None, self.client_address[0])

    def _route(self, parts: list[str], query: dict[str, list[str]]) -> None:
        api = parts[:1] == ["api"]
        if api:
            parts = parts[1:]
            if parts[:1] == ["whoami-v2"]:
                raise _Refusal(401, "", "Invalid username or password.")
            if parts[:1] == ["telemetry"]:
                return self._json({})
            if not parts or parts[0] not in KINDS:
                raise _Refusal(404, "", "Not Found")
        kind = "model"
        if parts and parts[0] in KINDS:
            kind, parts = parts[0][:-1], parts[1:]
        if api and not parts:
            return self._json(self._list(kind, query))
        at = next((i for i in (1, 2) if i < len(parts) and parts[i] in KEYWORDS), len(parts))
        repo = self._repo(kind, unquote("/".join(parts[:at])))
        if repo.moved_to:
            new = self.path.replace("/".join(parts[:at]), repo.moved_to, 1)
            raise _Refusal(307, "", f"Temporary Redirect. Redirecting to {new}", location=new)
        keyword, rest = (parts[at], parts[at + 1 :]) if at < len(parts) else ("", [])
        self._where = (kind, repo.id, "", self.path)
        if not api:
            if keyword not in ("resolve", "raw") or len(rest) < 2:
                raise _Refusal(404, "EntryNotFound", "Not Found")
            return self._resolve(repo, *self._revision(rest))
        if keyword in ("refs", "auth-check"):
            return self._json(self._refs(repo) if keyword == "refs" else {})
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
        if repo is None or (repo.private and not repo.is_open_to(self.headers.get("Authorization"))):
            raise _Refusal(401, "RepoNotFound", "Repository Not Found")
        return repo

    def _revision(self, rest: list[str]) -> tuple[str, list[str]]:
        if rest[0] == "refs" and len(rest) > 2:  # refs/pr/1 may come unquoted
            return "/".join(rest[:3]), rest[3:]
        return unquote(rest[0]), rest[1:]

    def _resolve(self, repo: Repo, revision: str, rest: list[str]) -> None:
        path = "/".join(map(unquote, rest))
        self._where = (repo.type, repo.id, revision, path)
        if repo.gated and not repo.is_open_to(self.headers.get("Authorization")):
            status = 403 if "Authorization" in self.headers else 401
            raise _Refusal(status, "GatedRepo", "Access to this repo is restricted.")
        commit = repo.commit_of(revision)
        if commit is None:
            raise _Refusal(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        file = repo.commits[commit].get(path)
        if file is None:
            raise _Refusal(404, "EntryNotFound", "Entry not found", commit=commit)
        limit = self.hub.mode.refuse_bytes_over
        if self.command == "GET" and limit is not None and file.size >= limit:
            raise _Refusal(403, "", f"This Hub refuses the bytes of files of {limit} bytes and more.")
        if self.command == "GET" and self.hub.mode.fail_gets_status is not None and self._troubled:
            raise _Refusal(self.hub.mode.fail_gets_status, "", "told to fail")
        headers = {"X-Repo-Commit": commit, "ETag": f'"{file.etag}"', "Accept-Ranges": "bytes"}
        if self.command == "GET" and self.hub.mode.hides_etags:
            headers = {"Accept-Ranges": "bytes"}
        elif file.lfs:
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
        as_json = self.headers.get("Content-Type", "").startswith("application/json")
        asked = (json.loads(self._body) if as_json else parse_qs(self._body.decode())).get("paths", [])
        asked = [asked] if isinstance(asked, str) else asked
        entries = {entry["path"]: entry for entry in self._tree(files, "", {"recursive": ["true"]})}
        return [entries[path] for path in asked if path in entries]

    def _refs(self, repo: Repo) -> dict[str, Any]:
        found: dict[str, list[dict[str, str]]] = {"branches": [], "converts": [], "tags": [], "pullRequests": []}
        for name, commit in repo.tags.items():
            found["tags"].append({"name": name, "ref": f"refs/tags/{name}", "targetCommit": commit})
        for name, commit in repo.refs.items():
            kind = {"refs/pr": "pullRequests", "refs/convert": "converts"}.get(name.rpartition("/")[0], "branches")
            ref = f"refs/heads/{name}" if kind == "branches" else name
            found[kind].append({"name": name.removeprefix("refs/convert/"), "ref": ref, "targetCommit": commit})
        return found

    def _list(self, kind: str, query: dict[str, list[str]]) -> list[dict[str, Any]]:
        search, author = (query.get(name, [""])[0].lower() for name in ("search", "author"))
        repos = (repo for repo in self.hub.repos.values() if repo.type == kind and not repo.private)
        found = [repo for repo in repos if search in repo.id.lower() and repo.id.lower().startswith(author and f"{author}/")]
        return [self._info(repo, None) for repo in found[: int(query.get("limit", ["1000"])[0])]]

    def _info(self, repo: Repo, commit: str | None, *, blobs: bool = False) -> dict[str, Any]:
        commit = commit or repo.commit_of("main") or next(iter(repo.commits), "")
        siblings: list[dict[str, Any]] = []
        for path, file in repo.commits.get(commit, {}).items():
            more: dict[str, Any] = {"size": file.size, "blobId": file.oid} if blobs else {}
            if blobs and file.lfs:
                more["lfs"] = {"sha256": file.etag, "size": file.size, "pointerSize": 134}
            siblings.append({"rfilename": path, **more})
        who = {"id": repo.id, "modelId": repo.id, "author": repo.id.partition("/")[0]}
        state = {"private": repo.private, "gated": "auto" if repo.gated else False, "disabled": False}
        fame = {"tags": [], "downloads": 0, "likes": 0, "lastModified": DATE, "createdAt": DATE}
        return {**who, "sha": commit, "siblings": siblings, **state, **fame, **repo.about}

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
        authorized, asker = "Authorization" in self.headers, (self.client_address[0], self.headers.get("User-Agent", ""))
        request = Request(self.command, self.path, *self._where, status, 0, self.headers.get("Range", ""), authorized, *asker)
        if note:
            self.hub.note(request)
        self.send_response(status)
        for name, value in {"Content-Type": "application/octet-stream", **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(stop - start))
        self.end_headers()
        while self.command != "HEAD" and start < stop:
            room = min(CHUNK, stop - start, self._allowed(request.bytes_sent) if limits else CHUNK)
            if room <= 0:
                self.close_connection = True
                break
            request.bytes_sent += room
            self.wfile.write(file.read(start, start + room))
            start += room
            if limits and self.hub.mode.throttle_bytes_s:
                time.sleep(room / self.hub.mode.throttle_bytes_s)  # this is the link's speed, not a wait for something
            if limits and self.hub.mode.total_rate_bytes_s:
                self.hub.wait_for_the_link(room, self.hub.mode.total_rate_bytes_s)

    def _allowed(self, sent: int) -> int:
        """How many bytes more may go out now; 0: the connection is to break. Waits while it is to stall."""
        while self._troubled and (stall := self.hub.mode.stall_after_bytes) is not None and sent >= stall:
            if self.hub.closed or select.select([self.connection], [], [], 0.05)[0]:
                return 0  # the client has hung up
        limits = (self.hub.mode.cut_after_bytes, self.hub.mode.stall_after_bytes) if self._troubled else ()
        return min([CHUNK, *(limit - sent for limit in limits if limit is not None)])


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
        hub.add(options.repo, {name: path.read_bytes() for name, path in _files_below(options.files)})
    print(hub.url, flush=True)
    with hub:
        threading.Event().wait()


if __name__ == "__main__":
    main()
