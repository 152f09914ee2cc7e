"""Connections end without anything waiting for their clients."""

from __future__ import annotations

import socket
import threading
import time

import gunicorn.util  # type: ignore[import-untyped]

from llmpt_tracker.serve import gunicorn_conf
from llmpt_tracker.serve.lingering import MAX_UNREAD_BYTES, Lingering
from tests.support.waiting import eventually


def pair() -> tuple[socket.socket, socket.socket]:
    """Return both ends of a TCP connection."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        client = socket.create_connection(listening.getsockname())
        return listening.accept()[0], client


def test_clients_that_keep_their_end_open_hold_up_nothing() -> None:
    lingering, ends = Lingering(linger_s=0.3), [pair() for _ in range(50)]
    began = time.monotonic()
    for ours, _ in ends:
        lingering.close(ours)
    assert time.monotonic() - began < 0.3, "gunicorn would take 100 s"
    for _, client in ends:
        client.settimeout(5)
        assert client.recv(10) == b"", "each is told the end at once"
    eventually(lambda: all(ours.fileno() < 0 for ours, _ in ends), what="all to be closed")
    eventually(lambda: "lingering" not in {thread.name for thread in threading.enumerate()}, what="the thread to end")
    for _, client in ends:
        client.close()


def test_a_client_that_has_sent_more_than_was_read_still_reads_its_answer() -> None:
    ours, client = pair()
    with client:
        client.sendall(b"x" * 10_000)
        ours.sendall(b"answer")
        Lingering().close(ours)
        client.settimeout(5)
        assert client.recv(100) + client.recv(100) == b"answer"


def test_a_client_that_has_gone_or_never_stops_sending_is_let_go_at_once() -> None:
    lingering = Lingering()
    gone, client = pair()
    client.close()
    flooded, flooding = pair()
    flooding.setblocking(False)
    with flooding:
        sent = flooding.send(b"x" * 10 * MAX_UNREAD_BYTES)
        assert sent > MAX_UNREAD_BYTES
        eventually(lambda: len(flooded.recv(2 * MAX_UNREAD_BYTES, socket.MSG_PEEK)) > MAX_UNREAD_BYTES, what="it to arrive")
        for ours in (gone, flooded):
            lingering.close(ours)
            eventually(lambda one=ours: one.fileno() < 0, timeout_s=1, what="it to be closed")  # type: ignore[misc]


def test_gunicorn_ends_its_connections_that_way() -> None:
    before = gunicorn.util.close_graceful
    try:
        gunicorn_conf.post_worker_init(None)
        ours, client = pair()
        with client:
            began = time.monotonic()
            gunicorn.util.close_graceful(ours)
            assert time.monotonic() - began < 1
    finally:
        gunicorn.util.close_graceful = before
