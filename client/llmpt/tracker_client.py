"""The tracker's catalogue, asked over HTTP.

    client = TrackerClient("http://server:8000")
    for torrent in client.get_torrents(repo_id="org/name", filename="model.safetensors") or []:
        print(torrent.etag, torrent.size, torrent.seeders)

The public methods never raise for what a network does; they answer None or False and log the reason. `lookup`, `publish`
and `heartbeat`, which the agent and the seeder use, raise `TrackerUnavailable` or `TrackerRefused` instead.

LAN traffic: proxies in the environment are ignored, and redirects are not followed.
"""

from __future__ import annotations

import base64
import http.client
import json
import logging
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from types import MappingProxyType
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from llmpt.core.blob import Etag
from llmpt.core.errors import InvalidInput, SettingError, TrackerError, TrackerRefused, TrackerUnavailable
from llmpt.core.metainfo import Metainfo

log = logging.getLogger("llmpt.tracker")

CONNECT_TIMEOUT_S = 1.0
MAX_ANSWER_BYTES = 32 << 20


@dataclass(frozen=True, slots=True)
class Appearance:
    """Where a blob appears: a path in a commit of a repo."""

    repo_type: str
    repo_id: str
    commit: str
    path: str


@dataclass(frozen=True, slots=True)
class Torrent:
    """One blob of the catalogue. `size` and `piece_length` are bytes; `info_hash` is 64 hex digits (BEP 52)."""

    info_hash: str
    etag: str
    size: int
    piece_length: int
    magnet: str
    seeders: int
    leechers: int
    completed: int
    appears_in: tuple[Appearance, ...]


@dataclass(frozen=True, slots=True)
class Lookup:
    """What the tracker says of one etag: its metainfo, the peers (address, port) to connect to, and how to announce.

    `metainfo` is None when the catalogue does not have the etag.
    """

    metainfo: Metainfo | None
    peers: tuple[tuple[str, int], ...]
    announce_url: str
    boot_id: str


class TrackerClient:
    """A client of one tracker at `url` (http or https). Safe to share among threads; one connection per call.

    `token` is a publisher's (`llmpt_pub_…`), sent only by the methods that publish. `timeout_s` bounds the whole answer,
    trickled or not; connecting has a bound of its own (1 s). Raises `SettingError` for a URL that cannot be one.
    """

    def __init__(self, url: str, *, token: str | None = None, timeout_s: float = 2.0) -> None:
        parts = urlsplit(url.rstrip("/"))
        try:
            port = parts.port
        except ValueError:
            port = -1
        if parts.scheme not in ("http", "https") or not parts.hostname or port == -1 or parts.query or parts.fragment:
            raise SettingError(f"not the address of a tracker: {url!r}; write it as http://server:8000")
        self.url = url.rstrip("/")
        self.host = parts.hostname
        self.port = port or (443 if parts.scheme == "https" else 80)
        self._tls = parts.scheme == "https"
        self._base = parts.path
        self._token = token
        self._timeout_s = timeout_s

    # The public questions: None and False instead of exceptions.

    def get_torrents(
        self,
        *,
        repo_id: str | None = None,
        repo_type: str = "model",
        revision: str | None = None,
        filename: str | None = None,
        etag: str | None = None,
    ) -> list[Torrent] | None:
        """Return the torrents that match every filter given; all pages are read.

        None means that there is nothing (also a 404) or that no sensible answer came in time; the reason is logged.
        """
        wanted = {"repo_id": repo_id, "revision": revision, "path": filename, "etag": etag}
        query = {name: value for name, value in wanted.items() if value is not None}
        if repo_id is not None:
            query["repo_type"] = repo_type
        try:
            return list(self.torrents(query)) or None
        except TrackerRefused as error:
            log.log(logging.DEBUG if error.status == 404 else logging.WARNING, "tracker refused: %s", error)
        except TrackerError as error:
            log.warning("no torrents from %s: %s", self.url, error)
        return None

    def register_torrent(
        self,
        metainfo: bytes | Metainfo,
        *,
        repo_id: str | None = None,
        repo_type: str = "model",
        commit: str | None = None,
        path: str | None = None,
        refs: tuple[str, ...] = (),
    ) -> bool:
        """Publish one torrent; with repo, commit and path also a manifest of that one file. Needs a publisher's token.

        False means that it was not published; the reason is logged.
        """
        raw = metainfo.encode() if isinstance(metainfo, Metainfo) else metainfo
        body: dict[str, Any] = {"torrents": [base64.b64encode(raw).decode()]}
        try:
            if repo_id is not None and commit is not None and path is not None:
                meta = Metainfo.parse(raw)
                file = {"path": path, "size": meta.size, "etag": str(meta.etag), "lfs": meta.etag.is_sha256}
                body |= {"repo_type": repo_type, "repo_id": repo_id, "commit": commit, "refs": list(refs)}
                body |= {"complete": False, "files": [file]}
            self.publish(body)
        except (TrackerError, InvalidInput) as error:
            log.warning("not published to %s: %s", self.url, error)
            return False
        return True

    def ping(self) -> bool:
        """Return whether the tracker answers and is well (database and announcer)."""
        try:
            return self.boot_id() != ""
        except TrackerError as error:
            log.debug("no ping from %s: %s", self.url, error)
            return False

    # What the other roles and the command line use: TrackerUnavailable or TrackerRefused.

    def torrents(self, query: Mapping[str, str]) -> Iterator[Torrent]:
        """Yield the torrents that match every parameter of GET /api/v1/torrents given; pages are asked for as needed."""
        cursor: str | None = None
        while True:
            page = self.get("/api/v1/torrents", {**query, **({"cursor": cursor} if cursor else {})})
            try:
                found = [_read_torrent(entry) for entry in page["torrents"]]
            except (KeyError, TypeError, ValueError) as error:
                raise TrackerUnavailable(f"{self.url} gave an answer that makes no sense: {_reason(error)}") from None
            yield from found
            cursor = page.get("next")
            if not cursor:
                return

    def get(self, path: str, query: Mapping[str, str] = MappingProxyType({})) -> dict[str, Any]:
        """GET `path`; return the JSON object of a 200."""
        return self._call("GET", path, query)[0]

    def lookup(self, etag: Etag) -> Lookup:
        """Ask for one blob: its metainfo and the peers that have it or parts of it."""
        answer, address = self._call("GET", "/api/v1/torrents", {"etag": etag.value, "include": "metainfo,peers"})
        try:
            announce_url = self._announce_url(answer)
            boot_id = str(answer["boot_id"])
            if not answer["torrents"]:
                return Lookup(None, (), announce_url, boot_id)
            entry = answer["torrents"][0]
            metainfo = Metainfo.parse(base64.b64decode(entry["metainfo"], validate=True))
            if metainfo.etag != etag:
                raise ValueError(f"asked for {etag}, answered {metainfo.etag}")
            peers = tuple((peer["address"] or address, int(peer["port"])) for peer in entry["peers"])
        except (KeyError, TypeError, ValueError) as error:
            raise TrackerUnavailable(f"{self.url} gave an answer that makes no sense: {_reason(error)}") from None
        return Lookup(metainfo, tuple(dict.fromkeys(peers)), announce_url, boot_id)

    def boot_id(self) -> str:
        """Return the id of the announcer's present life; another one means: announce again."""
        answer, _ = self._call("GET", "/healthz", {})
        return str(answer.get("boot_id", ""))

    def contact(self) -> tuple[str, str]:
        """Return the boot id and the URL to announce to."""
        answer, _ = self._call("GET", "/api/v1/torrents", {"limit": "1"})
        try:
            return str(answer["boot_id"]), self._announce_url(answer)
        except (KeyError, TypeError, ValueError) as error:
            raise TrackerUnavailable(f"{self.url} gave an answer that makes no sense: {_reason(error)}") from None

    def _announce_url(self, answer: Mapping[str, Any]) -> str:
        return f"http://{_in_url(self.host)}:{int(answer['announce_port'])}/announce"

    def publish(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """POST /api/v1/publish; the answer's fields are in the OpenAPI document."""
        return self._call("POST", "/api/v1/publish", {}, body, timeout_s=30.0)[0]

    def heartbeat(self, seeder_id: str, report: Mapping[str, Any]) -> dict[str, Any]:
        """PUT /api/v1/seeders/<id>: say that this seeder lives, and learn boot id, announce port and key."""
        return self._call("PUT", f"/api/v1/seeders/{quote(seeder_id, safe='')}", {}, report)[0]

    def _call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Mapping[str, Any] | None = None,
        *,
        timeout_s: float | None = None,
    ) -> tuple[dict[str, Any], str]:
        """Make one request; return the JSON object and the address at which the tracker was reached."""
        deadline = time.monotonic() + (timeout_s or self._timeout_s)
        headers = {"Accept": "application/json", "Connection": "close", "User-Agent": f"llmpt/{_version()}"}
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
            if self._token:
                headers["Authorization"] = f"Bearer {self._token}"
        kind = http.client.HTTPSConnection if self._tls else http.client.HTTPConnection
        connection = kind(self.host, self.port, timeout=min(CONNECT_TIMEOUT_S, timeout_s or self._timeout_s))
        target = self._base + path + ("?" + urlencode(query) if query else "")
        try:
            connection.connect()
            address = str(connection.sock.getpeername()[0])
            connection.sock.settimeout(max(deadline - time.monotonic(), 0.05))
            connection.request(method, target, data, headers)
            response = connection.getresponse()
            text = _read_all(response, connection.sock, deadline)
        except (OSError, http.client.HTTPException) as error:
            raise TrackerUnavailable(f"no answer from the tracker at {self.url}: {_reason(error)}") from None
        finally:
            connection.close()
        try:
            answer = json.loads(text)
            if not isinstance(answer, dict):
                raise TypeError("not a JSON object")
        except (ValueError, TypeError):
            if response.status == 200:
                raise TrackerUnavailable(f"{self.url} did not answer with JSON; is it an llmpt tracker?") from None
            answer = {}
        if response.status != 200:
            raise _refusal(self.url, response.status, answer)
        return answer, address


def _read_all(response: http.client.HTTPResponse, sock: socket.socket | None, deadline: float) -> bytes:
    """Read the body, however slowly it comes, until `deadline` (monotonic seconds)."""
    chunks: list[bytes] = []
    total = 0
    while True:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the answer took too long")
        if sock is not None and sock.fileno() >= 0:  # a closed response has already given up its socket
            sock.settimeout(left)
        chunk = response.read1(1 << 20)
        if not chunk:
            return b"".join(chunks)
        chunks.append(chunk)
        total += len(chunk)
        if total > MAX_ANSWER_BYTES:
            raise http.client.HTTPException(f"an answer of more than {MAX_ANSWER_BYTES} bytes")


def _refusal(url: str, status: int, answer: Mapping[str, Any]) -> TrackerError:
    error = answer.get("error")
    error = error if isinstance(error, dict) else {}
    message = str(error.get("message") or f"status {status}")
    if status >= 500:
        return TrackerUnavailable(f"{url}: {message}")
    return TrackerRefused(f"{url}: {message}", status=status, code=str(error.get("code", "")))


def _read_torrent(entry: Mapping[str, Any]) -> Torrent:
    places = (Appearance(p["repo_type"], p["repo_id"], p["commit"], p["path"]) for p in entry["appears_in"])
    return Torrent(
        info_hash=str(entry["info_hash"]),
        etag=str(entry["etag"]),
        size=int(entry["size"]),
        piece_length=int(entry["piece_length"]),
        magnet=str(entry["magnet"]),
        seeders=int(entry["seeders"]),
        leechers=int(entry["leechers"]),
        completed=int(entry["completed"]),
        appears_in=tuple(places),
    )


@cache
def _version() -> str:
    try:
        return version("llmpt")
    except PackageNotFoundError:  # removed while we run
        return "unknown"


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _reason(error: BaseException) -> str:
    return str(error) or type(error).__name__
