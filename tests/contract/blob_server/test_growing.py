"""A blob is served while it grows."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmpt_seeder.blobs import FileSource, FileState
from llmpt_seeder.blobs.connection import WITHHELD_BYTES, BlobLimits
from tests.contract.blob_server.world import CONTENT, ETAG, PATH, GrowingFile, Serve, Shelf, ask, connect, read_to_end
from tests.support.waiting import eventually


@pytest.fixture
def growing(tmp_path: Path) -> GrowingFile:
    return GrowingFile(tmp_path / "growing", ETAG, len(CONTENT))


def test_a_blob_is_sent_while_it_grows_and_its_end_only_when_it_is_whole(serve: Serve, growing: GrowingFile) -> None:
    growing.grow(CONTENT[: 1 << 20])
    server = serve(growing)
    with connect(server) as client:
        client.sendall(f"GET {PATH} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        file = client.makefile("rb")
        while file.readline() != b"\r\n":
            pass
        assert file.read(1 << 20) == CONTENT[: 1 << 20]
        growing.grow(CONTENT[1 << 20 :])
        shown = len(CONTENT) - WITHHELD_BYTES - (1 << 20)
        assert file.read(shown) == CONTENT[1 << 20 :][:shown]
        client.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.recv(1)
        client.settimeout(10)
        growing.state = FileState.WHOLE
        assert read_to_end(client) == CONTENT[-WITHHELD_BYTES:]
    eventually(lambda: (growing.opened, growing.closed) == (1, 1), what="the file to be closed")


def test_a_part_of_a_growing_blob_can_be_had(serve: Serve, growing: GrowingFile) -> None:
    growing.grow(CONTENT[: 1 << 20])
    answer, body = ask(serve(growing), Range="bytes=1000-1999")
    assert (answer.status, body) == (206, CONTENT[1000:2000])


def test_a_blob_that_fails_is_cut_off_before_its_end(serve: Serve, growing: GrowingFile) -> None:
    growing.grow(CONTENT)
    with connect(serve(growing)) as client:
        client.sendall(f"GET {PATH} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert client.recv(1000).startswith(b"HTTP/1.1 200 OK")
        growing.state = FileState.FAILED
        with pytest.raises(ConnectionResetError):
            read_to_end(client)
    eventually(lambda: growing.closed == 1, what="the file to be closed")


def test_a_blob_that_grows_no_more_is_not_waited_for_without_end(serve: Serve, growing: GrowingFile) -> None:
    growing.grow(CONTENT[:1000])
    with connect(serve(growing, limits=BlobLimits(growth_s=0.3))) as client:
        client.sendall(f"GET {PATH} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        with pytest.raises(ConnectionResetError):
            read_to_end(client)


def test_a_client_that_goes_while_a_blob_grows_is_noticed(serve: Serve, growing: GrowingFile) -> None:
    growing.grow(CONTENT[:1000])
    server = serve(growing)
    with connect(server) as client:
        client.sendall(f"GET {PATH} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        client.recv(1000)
    eventually(lambda: growing.closed == 1, what="the file to be closed")


def test_the_first_source_that_has_a_blob_is_the_one(serve: Serve, shelf: Shelf, growing: GrowingFile) -> None:
    server = serve(FileSource(shelf.files.get), growing)
    assert ask(server)[1] == CONTENT
    assert growing.opened == 0
    del shelf.files[ETAG]
    assert ask(server, method="HEAD")[0].status == 200
    assert growing.opened == 1


def test_closing_ends_clients_in_the_middle(serve: Serve, growing: GrowingFile) -> None:
    growing.grow(CONTENT[: 1 << 20])
    server = serve(growing)
    with connect(server) as client:
        client.sendall(f"GET {PATH} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        client.recv(1000)
        server.close()
        eventually(lambda: growing.closed == 1, what="the file to be closed")
