"""What one hostile machine does, in each of its ways: see `tests.bench.hostile`."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING
from urllib.parse import quote_from_bytes

from tests.bench._attacker import Attack
from tests.support.network import SERVER, SERVER_V6

if TYPE_CHECKING:
    from tests.bench.hostile import World

PEER_PORT, BLOB_PORT, AGENT_PORT = 6881, 8001, 7001
PREFIX, SITE = "fd66::bad:0:*:*", "fd67:0:0:*::1"  # of which the attacker has all addresses
MOST = 15_000  # connections
BLOCK = 16 << 10
METAINFO = "/api/v1/torrents?include=metainfo,peers&limit=100"


def attacks(world: World) -> dict[str, Attack]:
    """Return all that one machine can do to the server and to another machine, by name."""
    api, blobs = [(SERVER, world.tracker.http_port)], [(SERVER, BLOB_PORT)]
    announces, peers = [(SERVER, world.tracker.announce_port)], [(SERVER, PEER_PORT)]
    agent, tls = [(world.victim.v4, AGENT_PORT)], [(SERVER, world.tls.http_port)]
    many_ports = [api[0], announces[0], blobs[0], peers[0], agent[0], tls[0]]
    info_hash = quote_from_bytes(world.info_hash)
    announce = f"/announce?info_hash={info_hash}&peer_id=-XX0000-{{r}}"[:-8] + "&port=6881&left=0&numwant=200"
    hello = ("\x13BitTorrent protocol" + "\0" * 8 + world.info_hash.decode("latin-1")) + "-XX0000-attacker-00-"
    wants = "".join(struct.pack(">IBIII", 13, 6, 0, n * BLOCK, BLOCK).decode("latin-1") for n in range(4))
    interested = struct.pack(">IB", 1, 2).decode("latin-1")
    everything = json.dumps({"etags": world.etags, "peers": 50})
    with_metainfo = json.dumps({"etags": world.etags, "metainfo_of": world.etags})
    share = json.dumps({"name": "mallory"})
    blob = f"/blobs/{world.etag}"
    return {
        "8000 connections that end": Attack(api, hangs_up=True),
        "8000 connections, silent": Attack(api, MOST),
        "8000 half heads": Attack(api, MOST, ["GET / HTTP/1.1\r\nX-Slow: "], drip_s=2),
        "8000 small bodies, slow": Attack(api, MOST, [_head("POST", "/api/v1/lookup", 200_000)], drip_s=2),
        "8000 large bodies, slow": Attack(api, MOST, [_head("POST", "/api/v1/lookup", 9 << 20) + " " * 4096], drip_s=2),
        "8000 large bodies": Attack(api, 64, [_head("POST", "/api/v1/lookup", 9 << 20)], body_bytes=9 << 20, again=True),
        "8000 bodies of JSON": Attack(api, 64, [_post("/api/v1/lookup", "[" + "0," * 400_000 + "0]")], again=True),
        "8000 files, unread": Attack(api, MOST, [_get("/dist/llmpt-9.0-py3-none-any.whl")], reads=False, window_bytes=4096),
        "8000 files, read": Attack(api, 200, [_get("/dist/llmpt-9.0-py3-none-any.whl")], again=True),
        "8000 metainfo, unread": Attack(api, MOST, [_get(METAINFO)], again=True, reads=False, window_bytes=4096),
        "8000 metainfo": Attack(api, 200, [_get(METAINFO)], again=True),
        "8000 look-ups": Attack(api, 500, [_post("/api/v1/lookup", everything)], again=True),
        "8000 look-ups, metainfo": Attack(api, 500, [_post("/api/v1/lookup", with_metainfo)], again=True),
        "8000 look-ups, IPv6": Attack(
            [(SERVER_V6, api[0][1])], 3000, [_post("/api/v1/lookup", everything)], source=PREFIX, again=True
        ),
        "8000 look-ups, IPv6 of a site": Attack(
            [(SERVER_V6, api[0][1])], 3000, [_post("/api/v1/lookup", everything)], source=SITE, again=True
        ),
        "8000 look-ups, new each": Attack(api, 500, [_post("/api/v1/lookup", everything, keeps=False)]),
        "8000 pages": Attack(api, 500, [_get("/"), _get("/api/v1/torrents?q=file"), _get("/api/models?search=n")], again=True),
        "8000 tokens": Attack(api, 200, [_post("/api/v1/tokens", share)], again=True),
        "8000 made-up names": Attack(api, 500, [_get("/api/models/made/up-{n}"), _get("/up/{n}/resolve/main/a.bin")], again=True),
        "8000 blobs elsewhere": Attack(api, 500, [_get(blob), _get("/bench/files/resolve/main/0.bin")], again=True),
        "8000 ports to try": Attack(api, 500, [_get("/api/v1/whoami?port=9{n}"[:-3] + "{n}")], again=True),
        "8000 refusals": Attack(api, 500, [_get("/none/of/these/{n}"), _get("/api/v1/nothing"), "rubbish\r\n\r\n"], again=True),
        "8000 TLS, silent": Attack(tls, MOST),
        "8000 TLS, half a hello": Attack(tls, MOST, ["\x16\x03\x01\x02\x00\x01"], drip_s=2),
        "8000 TLS, connections": Attack(tls, 500, ["GET / HTTP/1.1\r\n\r\n"], hangs_up=True),
        "6969 connections that end": Attack(announces, hangs_up=True),
        "6969 connections, silent": Attack(announces, MOST),
        "6969 half heads": Attack(announces, MOST, ["GET /announce?info_hash="], drip_s=2),
        "6969 announces": Attack(announces, 200, [_get(announce)], again=True),
        "6969 announces, new each": Attack(announces, 500, [_get(announce, keeps=False)]),
        "6969 announces, unread": Attack(announces, 500, [_get(announce)], again=True, reads=False, window_bytes=4096),
        "6969 announces, IPv6": Attack([(SERVER_V6, announces[0][1])], 2000, [_get(announce, keeps=False)], source=PREFIX),
        "6969 scrapes": Attack(announces, 200, [_get("/scrape"), _get(f"/scrape?info_hash={info_hash}")], again=True),
        "8001 connections that end": Attack(blobs, hangs_up=True),
        "8001 connections, silent": Attack(blobs, MOST),
        "8001 half heads": Attack(blobs, MOST, ["GET /blobs/"], drip_s=2),
        "8001 files, unread": Attack(blobs, MOST, [_get(blob)], reads=False, window_bytes=4096),
        "8001 files, read": Attack(blobs, 200, [_get(blob)], again=True),
        "8001 questions": Attack(
            blobs, 200, [_get("/blobs/" + "0" * 64), _get("/nothing"), _head("POST", "/knock", 0)], again=True
        ),
        "6881 connections that end": Attack(peers, hangs_up=True),
        "6881 connections, silent": Attack(peers, MOST),
        "6881 half handshakes": Attack(peers, MOST, [hello[:30]], drip_s=2),
        "6881 peers that ask, unread": Attack(peers, MOST, [hello + interested + wants], reads=False, window_bytes=4096),
        "6881 peers that ask": Attack(peers, 350, [hello + interested + wants * 16]),
        "6881 rubbish": Attack(peers, 500, ["{r}" * 4]),
        "agent connections that end": Attack(agent, hangs_up=True),
        "agent connections, silent": Attack(agent, MOST),
        "agent handshakes": Attack(agent, MOST, [hello + interested]),
        "rubbish everywhere": Attack(many_ports, 1000, ["\0\xff{r}\r\n\r\n" * 8], again=True),
        "connections everywhere": Attack(many_ports, MOST, ["", "G", "{r}"]),
    }


def _get(path: str, *, keeps: bool = True) -> str:
    return f"GET {path} HTTP/1.1\r\nHost: {SERVER}\r\n{'' if keeps else 'Connection: close'}\r\n\r\n".replace(
        "\r\n\r\n\r\n", "\r\n\r\n"
    )


def _head(method: str, path: str, size: int, *, keeps: bool = True) -> str:
    more = "" if keeps else "Connection: close\r\n"
    return f"{method} {path} HTTP/1.1\r\nHost: {SERVER}\r\nContent-Type: application/json\r\nContent-Length: {size}\r\n{more}\r\n"


def _post(path: str, body: str, *, keeps: bool = True) -> str:
    return _head("POST", path, len(body), keeps=keeps) + body
