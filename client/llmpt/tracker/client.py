"""The tracker's catalogue, asked over HTTP.

    client = TrackerClient("http://server:8000")
    for torrent in client.get_torrents(repo_id="org/name", filename="model.safetensors") or []:
        print(torrent.etag, torrent.size, torrent.seeders)

The public methods never raise for what a network does; they answer None or False and log the reason. `lookup`, `publish`
and `heartbeat`, which the agent and the seeder use, raise `TrackerUnavailable` or `TrackerRefused` instead.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

from llmpt.core.blob import Etag
from llmpt.core.errors import InvalidInput, TrackerError, TrackerRefused
from llmpt.core.holdings import Holdings
from llmpt.core.leases import LeaseAnswer, Poll
from llmpt.core.metainfo import Metainfo
from llmpt.core.mirrors import Mirror, MirrorAsk, MirrorReport, MirrorState
from llmpt.core.orders import MirrorOrders
from llmpt.net.authorities import SYSTEM, Trust
from llmpt.tracker.answers import Answer, sense
from llmpt.tracker.looked_up import Beside, Contact, Lookup, read_lookup
from llmpt.tracker.mirrors import read_in_order, read_mirrors
from llmpt.tracker.pages import read_pages
from llmpt.tracker.reading import ReadToken
from llmpt.tracker.torrents import Torrent, read_torrent
from llmpt.tracker.url import in_url
from llmpt.tracker.wire import Wire

log = logging.getLogger("llmpt.tracker")

NO_BLOB = Etag("0" * 64)
BUSY_S = 60.0  # longer than 500 machines that start together are in each other's way


class TrackerClient:
    """A client of one tracker at `url` (http or https). Safe to share among threads; one connection per call.

    `token` is a publisher's (`llmpt_pub_…`), sent only by the methods that publish. `timeout_s` bounds the whole answer,
    trickled or not, `publish_timeout_s` that to what is published; connecting has a bound of its own (1 s). `trust` is
    what an https server's certificate is held to; `admit` is called before each request, and may raise. Raises `SettingError`.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        timeout_s: float = 2.0,
        publish_timeout_s: float = 30.0,
        trust: Trust = SYSTEM,
        admit: Callable[[], None] | None = None,
    ) -> None:
        self._wire = Wire(url, token=token, timeout_s=timeout_s, trust=trust, admit=admit)
        self.trust, self._admit, self._publish_timeout_s = trust, admit, publish_timeout_s
        self.url, self.host, self.port = self._wire.url, self._wire.host, self._wire.port

    def with_token(self, token: str | None, *, timeout_s: float = 2.0) -> TrackerClient:
        """Return a client of the same tracker, held to the same, that sends `token`."""
        other = TrackerClient(self.url, token=token, timeout_s=timeout_s, trust=self.trust, admit=self._admit)
        return other.read_with(self.reader).patient(self._wire.busy_s)

    @property
    def reader(self) -> ReadToken:
        """What finds the token for a tracker that wants one of those that read."""
        return self._wire.reader

    def read_with(self, reader: ReadToken) -> TrackerClient:
        """Have `reader` find that token; return this very client."""
        self._wire.reader = reader
        return self

    def patient(self, busy_s: float = BUSY_S) -> TrackerClient:
        """Wait so long for a tracker that lives all the while, and has too much to do; return this very client."""
        self._wire.busy_s = busy_s
        return self

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
        for page in self.pages("/api/v1/torrents", query):
            with sense(self.url):
                found = [read_torrent(entry) for entry in page.rows("torrents", "a torrent")]
            yield from found

    def pages(self, path: str, query: Mapping[str, str]) -> Iterator[Answer]:
        """Return the pages of a list, each asked for when it is needed. Raises `TrackerUnavailable` for a list without end."""
        return read_pages(self._wire, path, query)

    def get(self, path: str, query: Mapping[str, str] = MappingProxyType({})) -> dict[str, Any]:
        """GET `path`; return the JSON object of a 200."""
        return self._wire.call("GET", path, query).document

    def question(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """POST a question that is too long for a URL to `path`; return the JSON object of a 200."""
        return self._wire.call("POST", path, {}, body).document

    def lookup(self, etag: Etag) -> Lookup:
        """Ask for one blob: its metainfo and the peers that have it or parts of it."""
        reply = self._wire.call("GET", "/api/v1/torrents", {"etag": etag.value, "include": "metainfo,peers"})
        with sense(self.url):
            found = Answer(reply.document, "a look-up")
            said = self._contact(found)
            entry = next(found.rows("torrents", "a torrent"), None)
            return (
                read_lookup(said) if entry is None else read_lookup(said, entry, entry.metainfo("metainfo"), etag, reply.address)
            )

    def lookup_all(
        self, etags: tuple[Etag, ...], known: Mapping[Etag, Metainfo], beside: Beside | None = None
    ) -> dict[Etag, Lookup]:
        """Ask for many blobs at once; the metainfo of those that are `known` is not sent again. The answer has files of `beside`,
        too. `TrackerRefused`: it is too old for that (404), or for `beside` (400)."""
        found: dict[Etag, Lookup] = {}
        more = {} if beside is None else {"beside": beside.as_json()}
        while missing := [etag for etag in etags if etag not in found]:
            asked = {"etags": [etag.value for etag in missing], "metainfo_of": [one.value for one in missing if one not in known]}
            reply = self._wire.call("POST", "/api/v1/lookup", {}, asked | more)
            with sense(self.url):
                page = Answer(reply.document, "look-ups")
                said, entries = self._contact(page), {row.etag(): row for row in page.rows("torrents", "a torrent")}
                found |= {etag: read_lookup(said) for etag in missing if etag not in entries}
                for etag in entries.keys() if more else entries.keys() & set(missing):
                    entry = entries[etag]
                    metainfo = known.get(etag) or entry.optional("metainfo", entry.metainfo)
                    if metainfo is not None:
                        found[etag] = read_lookup(said, entry, metainfo, etag, reply.address)
                if not found.keys() & set(missing):
                    raise InvalidInput("it has no metainfo of what was asked for")
            more = {}
        return found

    def announce_keys(self, etags: Sequence[Etag]) -> dict[Etag, str]:
        """Ask behind which keys blobs are announced; of what may not be read there is none."""
        asked = {"etags": [etag.value for etag in etags], "metainfo_of": [], "peers": 0}
        answer = self._wire.call("POST", "/api/v1/lookup", {}, asked).document
        with sense(self.url):
            rows = list(Answer(answer, "look-ups").rows("torrents", "a torrent"))
            return {row.etag(): row.token("announce_key") for row in rows if "announce_key" in row}

    def boot_id(self) -> str:
        """Return the id of the announcer's present life; another one means: announce again."""
        answer = self._wire.call("GET", "/healthz", {}).document
        with sense(self.url):
            return Answer(answer, "the health of a tracker").word("boot_id")

    def contact(self) -> Contact:
        """Ask the tracker for nothing but what it says of itself: a blob that nobody has costs it least to find."""
        answer = self._wire.call("GET", "/api/v1/torrents", {"etag": NO_BLOB.value}).document
        with sense(self.url):
            return self._contact(Answer(answer, "a page"))

    def _contact(self, answer: Answer) -> Contact:
        announce_url = f"http://{in_url(self.host)}:{answer.port('announce_port')}/announce"
        return Contact(
            answer.word("boot_id"),
            announce_url,
            answer.optional("min_blob_bytes", answer.size),
            bool(answer.optional("announce_keys", answer.flag)),
        )

    def publish(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """POST /api/v1/publish; the answer's fields are in the OpenAPI document."""
        return self._wire.call("POST", "/api/v1/publish", {}, body, timeout_s=self._publish_timeout_s).document

    def heartbeat(self, seeder_id: str, report: Mapping[str, Any]) -> dict[str, Any]:
        """PUT /api/v1/seeders/<id>: say that this seeder lives, and learn boot id, announce port and key."""
        return self._wire.call("PUT", f"/api/v1/seeders/{quote(seeder_id, safe='')}", {}, report).document

    def holdings(self, seeder_id: str) -> Holdings:
        """GET /api/v1/seeders/<id>/holdings: all that the catalogue has on the word of this seeder."""
        answer = self._wire.call("GET", f"/api/v1/seeders/{quote(seeder_id, safe='')}/holdings", {}, authorized=True).document
        with sense(self.url):
            return Holdings.parse(answer)

    def say_repos(self, seeder_id: str, repos: Sequence[Mapping[str, Any]], *, hub: str) -> None:
        """PUT /api/v1/seeders/<id>/repos: who may read which repos of the Hub at `hub`, on this seeder's word. `TrackerRefused`
        (404, 405): it is too old for that."""
        self._wire.call("PUT", f"/api/v1/seeders/{quote(seeder_id, safe='')}/repos", {}, {"hub": hub, "repos": list(repos)})

    def share_token(self, name: str, code: str | None = None) -> str:
        """POST /api/v1/tokens: get a token with which the machine `name` may share; `code` is an invitation's."""
        answer = self._wire.call("POST", "/api/v1/tokens", {}, {"name": name, "code": code}).document
        with sense(self.url):
            return Answer(answer, "a token").token()

    def leases(self, poll: Poll) -> LeaseAnswer:
        """POST /api/v1/leases: what this machine waits for, fetches and has fetched; which one is to fetch what it waits for."""
        answer = self._wire.call("POST", "/api/v1/leases", {}, poll.as_json()).document
        with sense(self.url):
            return LeaseAnswer.parse(answer)

    def report(self, etag: Etag, info_hash: str, reason: str) -> None:
        """POST /api/v1/reports: the torrent's content is not what its etag says."""
        self._wire.call("POST", "/api/v1/reports", {}, {"etag": etag.value, "info_hash": info_hash, "reason": reason})

    # Mirrors: what is fetched from upstream.

    def mirrors(self, states: Collection[MirrorState] = ()) -> list[Mirror]:
        """Return the mirrors in one of `states` (none: in any), the newest first; all pages are read."""
        return list(read_mirrors(self._wire, {"state": ",".join(state.value for state in states)} if states else {}))

    def mirrors_in_order(self, states: Collection[MirrorState]) -> Iterator[Mirror]:
        """Yield the mirrors in one of `states` as they are to be taken; a page is read when it is needed."""
        return read_in_order(self._wire, {"state": ",".join(state.value for state in states)})

    def mirror_orders(self) -> MirrorOrders:
        """Return what an operator has said of the queue. Needs a publisher's token."""
        answer = self._wire.call("GET", "/api/v1/mirrors/orders", {}, authorized=True).document
        with sense(self.url):
            return MirrorOrders.parse(answer)

    def mirror(self, mirror_id: int) -> Mirror:
        """Return one mirror."""
        answer = self._wire.call("GET", f"/api/v1/mirrors/{mirror_id}", {}, authorized=True).document
        with sense(self.url):
            return Mirror.parse(answer)

    def ask_mirror(self, ask: MirrorAsk) -> Mirror:
        """Have a mirror made; return it. Needs a token."""
        answer = self._wire.call("POST", "/api/v1/mirrors", {}, ask.as_json()).document
        with sense(self.url):
            return Mirror.parse(answer)

    def report_mirror(self, mirror_id: int, report: MirrorReport) -> None:
        """Say how far a mirror is. Needs a publisher's token."""
        self._wire.call("PUT", f"/api/v1/mirrors/{mirror_id}", {}, report.as_json())
