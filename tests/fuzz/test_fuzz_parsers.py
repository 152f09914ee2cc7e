"""Whatever stands in a message: a parser reads it, or refuses it in our words."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from llmpt.core import bencode
from llmpt.core.documents import read_json
from llmpt.core.errors import BencodeError, InvalidInput, LlmptError, MetainfoError, SettingError
from llmpt.core.holdings import HeldCommit, HeldRef, Holdings
from llmpt.core.http_head import BadRequest, literal_host, parse_head
from llmpt.core.leases import LeaseAnswer, Poll
from llmpt.core.metainfo import Metainfo
from llmpt.core.mirrors import Mirror, MirrorAsk, MirrorReport
from llmpt.core.networks import CidrSet, parse_address
from llmpt.core.repo import RepoRef
from llmpt.link import answers, protocol, requests
from llmpt.link.answers import Done, Failed, Greeting, Ok, Progress, Refused
from llmpt.tracker.hops import hop
from llmpt.tracker.url import HttpUrl
from llmpt_tracker.announcer.peers.memory_store import MemoryStore
from llmpt_tracker.announcer.peers.seeders import Seeders
from llmpt_tracker.announcer.peers.store import Claim, Role
from llmpt_tracker.announcer.peers.wire import parse_announce, parse_scrape
from llmpt_tracker.announcer.replicas import changes
from llmpt_tracker.errors import ClientError
from tests.fuzz.mutation import Fuzz
from tests.support.rogue_tracker import BLOB, COMMIT, MIRROR, REPO, RIGHT
from tests.unit.client.agent.test_server import REQUEST

HASH = b"%a1" * 20
ANNOUNCES = (
    b"info_hash=" + HASH + b"&peer_id=-lt2110-abcdefghijkl&port=6881&left=0&event=started&compact=1&numwant=50&key=1f",
    b"info_hash=" + HASH + b"&peer_id=-lt2110-abcdefghijkl&port=6881&left=9&ip=10.0.0.7&no_peer_id=1",
)  # fmt: skip
WANT = {"etag": "e" * 64, "size": 9, **REPO}
POLL = {"machine": "ann-1", "stall_timeout_s": 5.0, "wants": [WANT], "fetching": [{"etag": "e" * 64, "bytes": 1, "rate_bytes_s": 2}],
        "ended": [{"etag": "e" * 64, "outcome": "published"}], "hub_rate_bytes_s": 5}  # fmt: skip
GRANTS = {
    "leases": [{"etag": "e" * 64, "role": "wait", "fetcher": "ann", "bytes": 1, "rate_bytes_s": 2}],
    "poll_s": 0.5,
    "boot_id": "b",
}
HOLDINGS = Holdings(
    (HeldCommit(RepoRef("model", "org/name"), COMMIT, True, 2, 1, 1),), (HeldRef(RepoRef("model", "org/name"), "main", COMMIT),)
).as_json()
HEADS = (
    b"GET /announce?" + ANNOUNCES[0] + b" HTTP/1.1\r\nHost: 10.0.0.1:6969\r\nConnection: keep-alive",
    b"GET /blobs/" + b"e" * 64 + b" HTTP/1.0\r\nHost: [fd00::1]\r\nRange: bytes=0-9,5-\r\nIf-None-Match: \"x\"",
)  # fmt: skip


def test_bencode(fuzz: Fuzz) -> None:
    right = [BLOB.encode(), b"d1:ali1ei-2ee1:bd1:c0:ee", bencode.encode({"a": [1, "b", {"c": 2}]})]
    for _ in fuzz:
        data = fuzz.bytes(right)

        def read(data: bytes = data) -> None:
            assert bencode.encode(bencode.decode(data)) == data, "it is canonical"

        fuzz.refuses(read, BencodeError)


def test_metainfo(fuzz: Fuzz) -> None:
    raw = BLOB.encode()
    for _ in fuzz:
        data = fuzz.bytes([raw, b"d8:announce3:abc" + raw[1:]])

        def read(data: bytes = data) -> None:
            assert Metainfo.parse(data).encode() is not None

        fuzz.refuses(read, MetainfoError, BencodeError)


def test_json(fuzz: Fuzz) -> None:
    right = [json.dumps(one).encode() for one in (*RIGHT.values(), POLL, GRANTS)]
    for _ in fuzz:
        data = fuzz.bytes(right)
        fuzz.refuses(lambda data=data: read_json(data, most_bytes=1 << 20), InvalidInput)  # type: ignore[misc]


def test_what_replicas_tell(fuzz: Fuzz) -> None:
    torrent, endpoint, claim = b"t" * 20, b"\x0a\0\0\x07\x1a\xe1", Claim(b"me", Role.LEECHER)
    right = [
        json.loads(changes.encode([one], now=2.0))
        for one in (
            changes.listed([torrent], now=1.0),
            changes.put(torrent, endpoint, Role.SEEDER, now=1.0, tag="server", owner=b"o"),
            changes.claimed(torrent, endpoint, claim, now=1.0),
            changes.marked(endpoint, is_reachable=True, now=1.0),
            changes.completed(torrent, now=1.0),
            changes.beat("server", key="k", report={"blobs": 1}, address=parse_address("10.0.0.7"), now=1.0),
            changes.removed(torrent, endpoint, now=1.0),
            changes.unlisted([torrent], now=1.0),
        )
    ]
    for _ in fuzz:
        store = MemoryStore()
        store.register([torrent])
        said = json.dumps([fuzz.document(right), right[0][0]]).encode()
        changes.Applying(store, Seeders()).batch(said, told_at=2.0, since=0.0)
        assert torrent in store, "what makes no sense keeps nothing else from being done"


def test_heads_and_queries(fuzz: Fuzz) -> None:
    for _ in fuzz:
        data = fuzz.bytes(HEADS)

        def read(data: bytes = data) -> None:
            head = parse_head(data)
            assert head.keep_alive in (True, False)
            literal_host(head.field(b"host")[:100])
            try:
                parse_announce(head.query, key=b"k" * 16)
            except ClientError:
                parse_scrape(head.query)

        fuzz.refuses(read, BadRequest, ClientError)
        query = fuzz.bytes(ANNOUNCES)
        fuzz.refuses(lambda query=query: parse_announce(query), ClientError)  # type: ignore[misc]
        fuzz.refuses(lambda query=query: parse_scrape(query), ClientError)  # type: ignore[misc]


def test_urls_and_addresses(fuzz: Fuzz) -> None:
    urls = [
        "http://10.0.0.1:8000/x?y=1",
        "https://[fd00::1]:8443/blobs/" + "e" * 64,
        "http://server:8001",
        "//server/",
        "http://[fe80::1%25lo]/",
    ]
    base = HttpUrl.parse("http://10.0.0.1:8000/blobs/x")
    for _ in fuzz:
        text = fuzz.text(urls)
        fuzz.refuses(lambda text=text: HttpUrl.parse(text), InvalidInput)  # type: ignore[misc]
        fuzz.refuses(lambda text=text: hop(base, text, BLOB.etag), ValueError)  # type: ignore[misc]
        text = fuzz.text(["10.0.0.1", "fe80::1%eth0", "::ffff:10.0.0.1", "192.168.0.0/16"])
        fuzz.refuses(lambda text=text: parse_address(text), ValueError)  # type: ignore[misc]
        fuzz.refuses(lambda text=text: CidrSet.parse(text), InvalidInput)  # type: ignore[misc]


def test_messages_of_the_agents_socket(fuzz: Fuzz) -> None:
    asked = [REQUEST.as_json(), *({"op": op, "tracker": "http://t:1", "etag": "e" * 64, "path": "/p", "stem": "/s", "etags": ["e" * 64]}
                                  for op in requests.REQUESTS)]  # fmt: skip
    said = [
        one.as_json()
        for one in (
            Progress(1, 2, 3),
            Done(True, 1, 2, 3, 0.5),
            Refused("no"),
            Failed("no", ((0, 5), (7, 9))),
            Ok(Path("/p"), 3),
            Greeting(5),
        )
    ]
    for _ in fuzz:
        message: Any = fuzz.document(asked)
        line = json.dumps({"v": 1, "version": "1", **message} if isinstance(message, dict) else message).encode()
        line = line if fuzz.random.random() < 0.7 else fuzz.bytes([line])

        def ask(line: bytes = line) -> None:
            read = protocol.decode(line)
            if not requests.is_of_every_version(read):
                protocol.check_version(read)
            repr(requests.parse(read).as_json())

        fuzz.refuses(ask, InvalidInput)
        message = fuzz.document(said)
        line = json.dumps(message).encode()

        def hear(line: bytes = line) -> None:
            answers.parse(protocol.decode(line))

        fuzz.refuses(hear, InvalidInput)


def test_words_of_leases_mirrors_and_holdings(fuzz: Fuzz) -> None:
    for _ in fuzz:
        for right, parse in ((POLL, Poll.parse), (GRANTS, LeaseAnswer.parse), (HOLDINGS, Holdings.parse), (MIRROR, Mirror.parse),
                             (MIRROR, MirrorAsk.parse), (MIRROR, MirrorReport.parse)):  # fmt: skip
            document = fuzz.document([right])

            def read(document: Any = document, parse: Any = parse) -> None:
                json.dumps(parse(document).as_json()).encode()

            fuzz.refuses(read, InvalidInput)


def test_base64_of_metainfo(fuzz: Fuzz) -> None:
    from llmpt.tracker.answers import Answer

    right = [base64.b64encode(BLOB.encode())]
    for _ in fuzz:
        text = fuzz.bytes(right).decode("latin-1")
        fuzz.refuses(lambda text=text: Answer({"metainfo": text}, "x").metainfo("metainfo"), InvalidInput)  # type: ignore[misc]


def test_settings_and_the_config_file(fuzz: Fuzz, tmp_path: Path) -> None:
    from llmpt.settings import ClientSettings, config_file
    from llmpt.settings.sources import origins

    file = tmp_path / "config" / "llmpt" / "config.toml"
    file.parent.mkdir(parents=True)
    right = [
        b'LLMPT_TRACKER = "http://server:8000"\nLLMPT_UPLOAD_LIMIT = "10M@08:00-18:00,0"\nLLMPT_SHARE = true\nLLMPT_PEER_PORT = 6882\n'
    ]
    for _ in fuzz:
        file.write_bytes(fuzz.bytes(right))
        environ = {"XDG_CONFIG_HOME": str(tmp_path / "config"), "HOME": str(tmp_path)}
        fuzz.refuses(lambda environ=environ: ClientSettings.read(environ), SettingError)  # type: ignore[misc]
        fuzz.refuses(lambda environ=environ: origins(ClientSettings, environ), SettingError)  # type: ignore[misc]
        fuzz.refuses(lambda: config_file.write(file, "LLMPT_TRACKER", "http://other:8000"), LlmptError)
