from __future__ import annotations

import hashlib
from typing import Any

import pytest

from llmpt.core import bencode, merkle
from llmpt.core.blob import Etag
from llmpt.core.errors import InvalidInput, InvalidName, MetainfoError
from llmpt.core.metainfo import InfoHash, Metainfo, info_dict, piece_length_for, truncated_hex

KIB, MIB = 1 << 10, 1 << 20


def content(size: int) -> bytes:
    return hashlib.shake_256(b"llmpt golden").digest(size)


def metainfo(size: int, *, git: bool = False) -> Metainfo:
    data = content(size)
    etag = hashlib.sha1(b"blob %d\0" % size + data).hexdigest() if git else hashlib.sha256(data).hexdigest()
    blocks = (data[i : i + merkle.BLOCK_BYTES] for i in range(0, size, merkle.BLOCK_BYTES))
    return Metainfo.from_leaves(Etag(etag), size, b"".join(hashlib.sha256(block).digest() for block in blocks))


# Each was compared with libtorrent's own create_torrent (v2_only, canonical_files): the same info dictionary, byte for byte.
# They may never change: a new policy is another number beside POLICY 1.
GOLDEN = {
    1: "12b099b7845177ad68d4579c305f5eba8788a06c1f7bcd1d1be13f79867ec394",
    16 * KIB: "212bc7737e0bcf9887d03e61027175924dd8a5aea84ff307f833c0cab50454ba",
    16 * KIB + 1: "00eb09e45f11c2c7e38e5d642eee878e7fb6fe9691562ae4db797ec42e8cbaae",
    64 * KIB: "a8dd1abac1c3e8256b7934b09fdc2f5641cf96ac5e4c3ed090ae78174d9e8c83",
    64 * KIB + 1: "0c425b5fa6bf60c2ab70e6caa6f80779b3b1b87b3ae667681e29109377dd7b82",
    MIB: "356c93fbc3db27b496fffc6bc6ace3557faec3cb679b6b29020dbfc57cc5a085",
    5 * MIB + 3: "c229864f060a2be04e230eca746514edf818b45a1b3936908d4053d2348cf701",
}
GOLDEN_GIT = {
    1: "ce82dd63dea1aac9e607552c94d5cee8a08fffed198cd1dbaec52ff0047c4b3a",
    5 * MIB + 3: "6fecb3101e56aed5eee0ba74acc1420a43e7255b181984d81ae7f10168c91f2b",
}


@pytest.mark.parametrize(("size", "golden"), GOLDEN.items())
def test_the_info_hash_of_a_blob_never_changes(size: int, golden: str) -> None:
    assert str(metainfo(size).info_hash) == golden


@pytest.mark.parametrize(("size", "golden"), GOLDEN_GIT.items())
def test_the_info_hash_of_a_blob_named_by_git_never_changes(size: int, golden: str) -> None:
    assert str(metainfo(size, git=True).info_hash) == golden


@pytest.mark.parametrize("size", GOLDEN)
def test_a_torrent_is_read_back_as_it_was_written(size: int) -> None:
    meta = metainfo(size)
    assert Metainfo.parse(meta.encode()) == meta
    assert Metainfo.parse(meta.encode(announce="http://server:6969/announce")) == meta


def test_the_announce_url_does_not_touch_the_info_hash() -> None:
    outer, raw = bencode.decode_dict(metainfo(MIB).encode(announce="http://server:6969/announce"))
    assert outer[b"announce"] == b"http://server:6969/announce"
    assert hashlib.sha256(raw[b"info"]).hexdigest() == GOLDEN[MIB]


@pytest.mark.parametrize(
    ("size", "length"),
    [
        (1, 64 * KIB),
        (256 * MIB, 64 * KIB),
        (256 * MIB + 1, 128 * KIB),
        (512 * MIB, 128 * KIB),
        (16 << 30, 4 * MIB),
        (1 << 40, 4 * MIB),
    ],
)
def test_the_piece_length_is_that_of_policy_1(size: int, length: int) -> None:
    assert piece_length_for(size) == length


def changed(**changes: Any) -> bytes:
    """A torrent of 1 MiB in which some keys of the info dictionary are others."""
    outer = bencode.decode(metainfo(MIB).encode())
    outer[b"info"].update({key.replace("_", " ").encode(): value for key, value in changes.items()})
    return bencode.encode(outer)


def with_leaf(**changes: Any) -> bytes:
    meta = metainfo(MIB)
    leaf: dict[bytes, Any] = {b"length": meta.size, b"pieces root": meta.root}
    leaf.update({key.replace("_", " ").encode(): value for key, value in changes.items()})
    return changed(file_tree={meta.etag.value: {"": leaf}})


def with_layers(layers: Any) -> bytes:
    outer = bencode.decode(metainfo(MIB).encode())
    outer[b"piece layers"] = layers
    return bencode.encode(outer)


META = metainfo(MIB)
LEAF = {"length": MIB, "pieces root": META.root}
NAME = META.etag.value


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"de", "one file"),
        (b"d4:infoi1ee", "one file"),
        (b"d4:infolee", "one file"),
        (b"d4:infodee", "one file"),
        (changed(name=b"model.bin", file_tree={"model.bin": {"": LEAF}}), "name must be the etag"),
        (changed(name=b"\xff\xfe"), "one file"),
        (changed(name=7), "one file"),
        (changed(name=b"0" * 64), "one file"),
        (changed(file_tree=[]), "one file"),
        (changed(file_tree={NAME: {}}), "one file"),
        (changed(file_tree={NAME: {"": LEAF, "x": LEAF}}), "one file"),
        (changed(file_tree={NAME: {"folder": {"": LEAF}}}), "one file"),
        (changed(file_tree={NAME: {"x": LEAF}}), "not that of policy 1"),
        (changed(file_tree={NAME: {"": LEAF}, "x": {"": LEAF}}), "not that of policy 1"),
        (changed(meta_version=1), "not that of policy 1"),
        (changed(piece_length=32 * KIB), "not that of policy 1"),
        (changed(private=1), "not that of policy 1"),
        (changed(source=b"somewhere"), "not that of policy 1"),
        (changed(pieces=b"\0" * 20, length=MIB), "not that of policy 1"),
        (with_leaf(attr=b"x"), "not that of policy 1"),
        (with_leaf(length=0), "between 1 byte and 16 TiB"),
        (with_leaf(length=-1), "between 1 byte and 16 TiB"),
        (with_leaf(length=2**63 - 1), "between 1 byte and 16 TiB"),
        (with_leaf(length=b"9"), "one file"),
        (with_leaf(length=2 * MIB), "piece layer has 512 bytes where"),
        (with_leaf(pieces_root=b"short"), "this file and nothing else"),
        (with_leaf(pieces_root=bytes(32)), "this file and nothing else"),
        (with_layers({}), "piece layer has 0 bytes"),
        (with_layers([]), "this file and nothing else"),
        (with_layers({META.root: 7}), "this file and nothing else"),
        (with_layers({META.root: META.layer, bytes(32): b""}), "this file and nothing else"),
        (with_layers({META.root: META.layer[:-32]}), "piece layer has 480 bytes"),
        (with_layers({META.root: META.layer[:-1] + b"\0"}), "does not hash up"),
        (with_layers({META.root: META.layer[32:] + META.layer[:32]}), "does not hash up"),
    ],
)
def test_whatever_is_not_exactly_policy_1_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(MetainfoError, match=reason):
        Metainfo.parse(data)


def test_trackers_web_seeds_and_nodes_of_the_sender_are_dropped() -> None:
    outer = bencode.decode(META.encode())
    outer |= {b"announce": b"http://elsewhere/announce", b"url-list": [b"http://elsewhere"], b"nodes": [[b"host", 1]]}
    assert Metainfo.parse(bencode.encode(outer)).encode() == META.encode()


def test_a_torrent_beyond_ten_mebibytes_is_not_looked_at() -> None:
    with pytest.raises(MetainfoError, match="at most 10485760 are read"):
        Metainfo.parse(b"d" * (10 * MIB + 1))


@pytest.mark.parametrize("cut", [0, 1, 50, 200])
def test_a_torrent_cut_short_is_refused(cut: int) -> None:
    with pytest.raises(InvalidInput):
        Metainfo.parse(META.encode()[:cut])


def test_the_info_dictionary_can_be_written_without_the_layer() -> None:
    assert info_dict(META.etag, META.size, META.root) == META.info


def test_leaves_that_do_not_cover_the_blob_make_no_torrent() -> None:
    with pytest.raises(MetainfoError, match="2 leaves do not cover 16384 bytes"):
        Metainfo.from_leaves(META.etag, 16 * KIB, bytes(64))


def test_an_empty_blob_has_no_torrent() -> None:
    with pytest.raises(MetainfoError, match="between 1 byte"):
        Metainfo.from_leaves(META.etag, 0, b"")


def test_the_magnet_names_hash_etag_and_size() -> None:
    assert META.magnet == f"magnet:?xt=urn:btmh:1220{GOLDEN[MIB]}&dn={NAME}&xl=1048576"


def test_an_info_hash_is_thirty_two_bytes() -> None:
    digest = InfoHash.from_hex(GOLDEN[MIB])
    assert digest.truncated.hex() == GOLDEN[MIB][:40]
    assert truncated_hex(GOLDEN[MIB][:40]) == digest.truncated
    with pytest.raises(InvalidName):
        InfoHash(bytes(20))


@pytest.mark.parametrize("text", ["", "a" * 40, "A" * 64, "a" * 63 + "\n", "g" * 64])
def test_other_text_is_no_info_hash(text: str) -> None:
    with pytest.raises(InvalidName):
        InfoHash.from_hex(text)


@pytest.mark.parametrize("text", ["", "a" * 64, "A" * 40, "%aa" * 13])
def test_other_text_is_no_truncated_info_hash(text: str) -> None:
    with pytest.raises(InvalidName):
        truncated_hex(text)
