"""The blob server with a certificate: the same answers, and no byte of a file that can be read on the way."""

from __future__ import annotations

import shutil
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from llmpt.host.certificate import Certificate
from llmpt_seeder.blobs import BlobServer, FileState
from llmpt_seeder.blobs.connection import BlobLimits
from tests.contract.blob_server.world import CONTENT, ETAG, PATH, GrowingFile, Serve, Shelf, connect, read_to_end
from tests.support.certificates import Authority
from tests.support.waiting import eventually

ASKED = f"GET {PATH} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"), "lab")


@pytest.fixture
def certificate(authority: Authority) -> Certificate:
    return Certificate(authority.certificate("server.pem"), None)


def secured(sock: socket.socket, authority: Authority) -> ssl.SSLSocket:
    return ssl.create_default_context(cafile=str(authority.file)).wrap_socket(sock, server_hostname="localhost")


@contextmanager
def tapped(server: BlobServer) -> Iterator[tuple[int, bytearray]]:
    """A port that leads to the server, and all that crosses it from there."""
    seen = bytearray()

    def pump(source: socket.socket, sink: socket.socket, record: bool) -> None:
        with suppress(OSError):  # one of them has gone
            while data := source.recv(1 << 16):
                if record:
                    seen.extend(data)
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    with socket.create_server(("127.0.0.1", 0)) as listening, ExitStack() as stack:

        def carry() -> None:
            client = stack.enter_context(listening.accept()[0])
            upstream = stack.enter_context(connect(server))
            back = threading.Thread(target=pump, args=(upstream, client, True))
            back.start()
            pump(client, upstream, False)
            back.join(10)

        carrier = threading.Thread(target=carry)
        carrier.start()
        yield listening.getsockname()[1], seen
        carrier.join(10)


def test_files_and_ranges_come_and_nothing_of_them_can_be_read_on_the_way(
    serve: Serve, certificate: Certificate, authority: Authority
) -> None:
    with (
        tapped(serve(certificate=certificate)) as (port, seen),
        secured(socket.create_connection(("127.0.0.1", port), 10), authority) as client,
    ):
        part = f"GET {PATH} HTTP/1.1\r\nHost: x\r\nRange: bytes=%d-%d\r\n\r\n"
        client.sendall("".join(part % (n, n + 9) for n in range(20)).encode() + ASKED)
        answers = read_to_end(client)
    head, _, body = answers.rpartition(b"\r\n\r\n")
    assert (body, head.count(b"206 Partial")) == (CONTENT, 20)
    assert len(seen) > len(CONTENT)
    assert not [at for at in range(0, len(CONTENT), 64 << 10) if CONTENT[at : at + 16] in seen]
    assert b"HTTP/1.1" not in seen


def test_without_tls_nothing_but_one_sentence_is_said(serve: Serve, certificate: Certificate) -> None:
    with connect(serve(certificate=certificate)) as client:
        client.sendall(ASKED)
        answer = read_to_end(client)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"https://" in answer
    assert CONTENT[:16] not in answer


def test_a_client_that_takes_nothing_by_tls_is_let_go_and_holds_up_nobody(
    serve: Serve, shelf: Shelf, certificate: Certificate, authority: Authority
) -> None:
    blob = shelf.put(bytes(32 << 20))
    server = serve(certificate=certificate, limits=BlobLimits(stall_s=0.4))
    with secured(connect(server), authority) as stalled:
        stalled.sendall(f"GET /blobs/{blob.etag} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        with secured(connect(server), authority) as other:
            other.sendall(ASKED)
            assert read_to_end(other).endswith(CONTENT)
        eventually(lambda: not server._connections, what="the stalled client to be let go")
        assert len(read_to_end(stalled)) < 32 << 20


def test_handshakes_that_do_not_end_are_let_go_and_hold_up_nobody(
    serve: Serve, certificate: Certificate, authority: Authority
) -> None:
    server = serve(certificate=certificate, limits=BlobLimits(head_s=0.5, idle_s=0.5))
    with ExitStack() as stack:
        half_open = [stack.enter_context(connect(server)) for _ in range(40)]
        for one in half_open[20:]:
            one.sendall(b"\x16\x03\x01")
        with secured(connect(server), authority) as client:
            client.sendall(ASKED)
            assert read_to_end(client).endswith(CONTENT)
        assert [one.recv(100) for one in half_open] == [b""] * 40


def test_a_blob_that_grows_is_sent_by_tls_and_what_turns_out_wrong_is_cut_off(
    serve: Serve, tmp_path: Path, certificate: Certificate, authority: Authority
) -> None:
    growing = GrowingFile(tmp_path / "growing", ETAG, len(CONTENT))
    server = serve(growing, certificate=certificate)
    with secured(connect(server), authority) as client:
        client.sendall(ASKED)
        growing.grow(CONTENT[: 1 << 20])
        head = client.recv(1 << 10)
        growing.grow(CONTENT[1 << 20 :])
        growing.state = FileState.WHOLE
        assert (head + read_to_end(client)).endswith(CONTENT)
    other = GrowingFile(tmp_path / "other", ETAG, len(CONTENT))
    server = serve(other, certificate=certificate)
    with secured(connect(server), authority) as cheated:
        cheated.sendall(ASKED)
        other.grow(CONTENT[: 1 << 20])
        cheated.recv(1 << 10)
        other.state = FileState.FAILED
        assert len(read_to_end(cheated)) < len(CONTENT)


def test_a_renewed_certificate_is_shown_without_a_restart(serve: Serve, authority: Authority, tmp_path: Path) -> None:
    used, now = tmp_path / "server.pem", [0.0]
    shutil.copy(authority.certificate("first.pem"), used)
    server = serve(certificate=Certificate(used, None, clock=lambda: now[0]))
    shown = []
    for _ in range(2):
        with secured(connect(server), authority) as client:
            shown.append(client.getpeercert(binary_form=True))
        shutil.copy(authority.certificate("second.pem"), used)
        now[0] += 10
    assert shown[0] != shown[1]


def test_the_heartbeat_says_that_files_come_by_tls(serve: Serve, certificate: Certificate) -> None:
    assert serve(certificate=certificate).report()["blob_tls"] is True
    assert "blob_tls" not in serve().report(), "which a tracker of an older version refuses"
