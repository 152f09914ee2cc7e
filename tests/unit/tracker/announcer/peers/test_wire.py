"""The tracker protocol as bytes: what is read, what is refused, and the answers to the byte."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmpt.core import bencode
from llmpt_tracker.announcer.peers import wire
from llmpt_tracker.announcer.peers.wire import AnnounceReply, Event, ScrapeEntry
from llmpt_tracker.errors import ClientError

HASH = bytes(range(0, 200, 10))
ESCAPED = "".join(f"%{byte:02X}" for byte in HASH).encode()
GOOD = {
    b"info_hash": ESCAPED,
    b"peer_id": b"-LT2110-abc%00%ffdefgh12",
    b"port": b"6881",
    b"uploaded": b"0",
    b"downloaded": b"0",
    b"left": b"100",
}
LIBTORRENT = (
    b"info_hash=" + ESCAPED + b"&peer_id=-LT2110-6W3KK7nUdC%7ew&port=6881&uploaded=0&downloaded=0&left=16384&corrupt=0"
    b"&key=2A17F5E3&event=started&numwant=200&compact=1&no_peer_id=1&supportcrypto=1&redundant=0"
)


def query(**changes: bytes | None) -> bytes:
    fields = GOOD | {name.encode(): value for name, value in changes.items() if value is not None}
    gone = {name.encode() for name, value in changes.items() if value is None}
    return b"&".join(name + b"=" + value for name, value in fields.items() if name not in gone)


def refused(raw: bytes) -> str:
    with pytest.raises(ClientError) as caught:
        wire.parse_announce(raw)
    return str(caught.value)


def test_what_libtorrent_sends_is_read() -> None:
    request = wire.parse_announce(LIBTORRENT)
    assert request.info_hash == HASH
    assert request.peer_id == b"-LT2110-6W3KK7nUdC~w"
    assert (request.port, request.left, request.event, request.numwant) == (6881, 16384, Event.STARTED, 100)
    assert request.compact
    assert request.no_peer_id


def test_the_hash_is_bytes_and_never_text() -> None:
    raw = bytes((0xFF, 0xC3, 0x28, 0x00, 0x2F, 0x20)) + b"/raw-bytes-too"
    assert wire.parse_announce(query(info_hash=raw.replace(b"\x00", b"%00"))).info_hash == raw


def test_a_plus_is_a_blank() -> None:
    request = wire.parse_announce(query(info_hash=b"a+b" + b"%2b" * 17, peer_id=b"-XX0000-+abcdefghij+"))
    assert (request.info_hash, request.peer_id) == (b"a b" + b"+" * 17, b"-XX0000- abcdefghij ")


def test_defaults() -> None:
    request = wire.parse_announce(query())
    assert (request.event, request.numwant, request.compact, request.no_peer_id, request.ip, request.key) == (
        Event.NONE, 50, True, False, "", "",
    )  # fmt: skip


def test_numwant_is_capped() -> None:
    assert wire.parse_announce(query(numwant=b"1000000")).numwant == 100
    assert wire.parse_announce(query(numwant=b"0")).numwant == 0


def test_the_address_that_a_client_claims_is_passed_on_as_text() -> None:
    assert wire.parse_announce(query(ip=b"fd00%3A%3A5")).ip == "fd00::5"


def test_a_key_stands_in_the_path() -> None:
    assert wire.parse_announce(query(), key=b"0123456789abcdef").key == "0123456789abcdef"


@pytest.mark.parametrize("key", [b"a/b", b"a" * 65, b"%2e", "ä".encode()])
def test_a_key_that_can_be_none_is_refused(key: bytes) -> None:
    with pytest.raises(ClientError, match="unknown announce key"):
        wire.parse_announce(query(), key=key)


@pytest.mark.parametrize("name", ["info_hash", "peer_id", "port"])
def test_a_missing_field_is_named(name: str) -> None:
    assert refused(query(**{name: None})) == f"{name} is missing"


def test_an_empty_query_is_refused() -> None:
    assert refused(b"") == "info_hash is missing"


def test_info_hash_of_19_bytes_is_refused() -> None:
    assert "it has 19" in refused(query(info_hash=b"a" * 19))


def test_info_hash_of_40_hex_digits_is_refused() -> None:
    assert "it has 40" in refused(query(info_hash=HASH.hex().encode()))


def test_info_hash_of_32_bytes_is_refused() -> None:
    assert "it has 32" in refused(query(info_hash=b"a" * 32))


def test_info_hash_given_twice_is_refused() -> None:
    assert "more than once" in refused(query() + b"&info_hash=" + ESCAPED)


def test_peer_id_of_21_bytes_is_refused() -> None:
    assert refused(query(peer_id=b"a" * 21)).startswith("peer_id must be 20 bytes")


@pytest.mark.parametrize("port", [b"0", b"65536", b"99999", b"9" * 30])
def test_port_out_of_range_is_refused(port: bytes) -> None:
    assert refused(query(port=port)) == "port must be between 1 and 65535"


@pytest.mark.parametrize("port", [b"-1", b"", b"+1", b"0x1", b" 1", b"1_0", b"1.0", "１".encode()])
def test_port_that_is_no_number_is_refused(port: bytes) -> None:
    assert refused(query(port=port)).startswith("port must be a whole number")


@pytest.mark.parametrize("left", [None, b"", b"-1", b"18446744073709551615", b"9" * 30, b"some"])
def test_left_that_is_not_known_is_more_than_nothing(left: bytes | None) -> None:
    assert wire.parse_announce(query(left=left)).left == 2**64 - 1


@pytest.mark.parametrize(("numwant", "wanted"), [(b"-1", 50), (b"", 50), (b"many", 50), (b"9" * 30, 100)])
def test_numwant_that_is_no_number_is_the_default(numwant: bytes, wanted: int) -> None:
    assert wire.parse_announce(query(numwant=numwant)).numwant == wanted


@pytest.mark.parametrize("event", [b"none", b"empty", b"", b"vanished"])
def test_an_unknown_event_is_a_regular_announce(event: bytes) -> None:
    assert wire.parse_announce(query(event=event)).event is Event.NONE


def test_flags_that_make_no_sense_have_their_defaults() -> None:
    request = wire.parse_announce(query(compact=b"", no_peer_id=b"yes"))
    assert (request.compact, request.no_peer_id) == (True, False)


def test_fields_that_nobody_reads_may_hold_anything() -> None:
    wire.parse_announce(query(uploaded=b"-1", downloaded=b"x", ipv4=b"%%%", key=b"%zz"))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_whatever_arrives_is_read_or_refused(raw: bytes) -> None:
    for parse in (wire.parse_announce, wire.parse_scrape):
        try:
            parse(raw)
        except ClientError:
            pass


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from([*sorted(GOOD), b"numwant", b"event", b"compact", b"ip"]), st.binary(max_size=30)))
def test_fields_with_any_content_are_read_or_refused(changes: dict[bytes, bytes]) -> None:
    raw = b"&".join(name + b"=" + value for name, value in (GOOD | changes).items())
    try:
        request = wire.parse_announce(raw)
    except ClientError:
        return
    assert len(request.info_hash) == len(request.peer_id) == 20
    assert 0 < request.port < 65536
    assert 0 <= request.numwant <= 100


def test_a_scrape_names_its_torrents_each_once() -> None:
    other = b"b" * 20
    assert wire.parse_scrape(b"info_hash=%b&info_hash=%b&info_hash=%b" % (ESCAPED, other, ESCAPED)) == [HASH, other]


def test_there_is_no_scrape_of_everything() -> None:
    with pytest.raises(ClientError, match="info_hash is missing"):
        wire.parse_scrape(b"")


def test_a_scrape_of_75_torrents_is_refused() -> None:
    wire.parse_scrape(b"&".join(b"info_hash=%020d" % i for i in range(74)))
    with pytest.raises(ClientError, match="74"):
        wire.parse_scrape(b"&".join(b"info_hash=%020d" % i for i in range(75)))


def test_a_compact_answer_to_the_byte() -> None:
    reply = AnnounceReply(
        2, 1, 7, 913, b"\x0a\x00\x00\x01\x1a\xe1", b"\xfd" + bytes(15) + b"\x1a\xe1", b"\x0a\x00\x00\x09", "mind the gap"
    )
    assert wire.encode_announce(reply, tracker_id=b"boot") == (
        b"d8:completei2e10:downloadedi7e11:external ip4:\x0a\x00\x00\x0910:incompletei1e8:intervali913e12:min intervali60e"
        b"5:peers6:\x0a\x00\x00\x01\x1a\xe16:peers618:\xfd" + bytes(15) + b"\x1a\xe110:tracker id4:boot"
        b"15:warning message12:mind the gape"
    )
    raw = wire.encode_announce(reply, tracker_id=b"boot")
    assert bencode.encode(bencode.decode(raw)) == raw


def test_an_empty_answer_has_peers_all_the_same() -> None:
    answer = bencode.decode(wire.encode_announce(AnnounceReply(0, 0, 0, 900, b"", b"", b"\x7f\x00\x00\x01"), tracker_id=b"boot"))
    assert answer[b"peers"] == b""
    assert b"peers6" not in answer
    assert b"warning message" not in answer


def test_a_dictionary_answer_lists_both_families() -> None:
    four, six = b"\x0a\x00\x00\x01\x1a\xe1", b"\xfd" + bytes(14) + b"\x05\x1a\xe2"
    reply = AnnounceReply(1, 1, 0, 900, four, six, b"\x0a\x00\x00\x09", peer_ids={four: b"a" * 20})
    assert bencode.decode(wire.encode_announce(reply, tracker_id=b"boot"))[b"peers"] == [
        {b"ip": b"10.0.0.1", b"peer id": b"a" * 20, b"port": 6881},
        {b"ip": b"fd00::5", b"port": 6882},
    ]


@pytest.mark.parametrize(("reachable", "said"), [(True, 1), (False, 0)])
@pytest.mark.parametrize("peer_ids", [None, {}])
def test_whether_others_can_connect_stands_under_a_key_of_ours_in_its_place(
    peer_ids: dict[bytes, bytes] | None, reachable: bool, said: int
) -> None:
    reply = AnnounceReply(0, 0, 0, 900, b"", b"", b"\x7f\x00\x00\x01", "", peer_ids, reachable)
    raw = wire.encode_announce(reply, tracker_id=b"boot")
    assert bencode.decode(raw)[b"llmpt reachable"] == said
    assert bencode.encode(bencode.decode(raw)) == raw


def test_a_scrape_to_the_byte() -> None:
    assert wire.encode_scrape({b"h" * 20: ScrapeEntry(complete=1, downloaded=2, downloaders=3, incomplete=4)}) == (
        b"d5:filesd20:hhhhhhhhhhhhhhhhhhhhd8:completei1e10:downloadedi2e11:downloadersi3e10:incompletei4eee"
        b"5:flagsd20:min_request_intervali60eee"
    )


def test_a_refusal_to_the_byte() -> None:
    assert wire.encode_failure("unregistered torrent") == (
        b"d14:failure reason20:unregistered torrent8:intervali60e12:min intervali60e8:retry ini1ee"
    )
