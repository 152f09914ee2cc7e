"""The agent's own metrics: on loopback, as Prometheus reads them, and for no web page."""

from __future__ import annotations

import contextlib
import http.client
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from llmpt.agent import metrics
from llmpt.core.browsers import SAFE_HEADERS

STATUS: dict[str, Any] = {
    "uptime_s": 12.5,
    "uploaded_bytes": 5 << 40,
    "downloaded_bytes": 7,
    "upload_rate_bytes_s": 3,
    "download_rate_bytes_s": 0,
    "peers": 2,
    "tracker_answers": True,
    "ended": {"done": 4, "failed": 1},
    "downloads": [{"outcome": "running"}, {"outcome": "done"}],
    "fetching": [{}],
    "seeding": [{"size": 10}, {"size": 20}],
    "troubles": [],
}


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with metrics.served(0, lambda: STATUS) as port:
        yield port


def ask(port: int, path: str = "/metrics", **headers: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path, headers={name.replace("_", "-"): text for name, text in headers.items()})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def test_prometheus_reads_the_figures_of_the_status(port: int) -> None:
    status, text = ask(port)
    found = {
        (one.name, *one.labels.values()): one.value for family in text_string_to_metric_families(text) for one in family.samples
    }
    assert status == 200
    assert found["llmpt_agent_uploaded_bytes_total",] == 5 << 40
    assert found["llmpt_agent_requests_total", "done"] == 4
    assert found["llmpt_agent_requests_running",] == 1
    assert (found["llmpt_agent_blobs",], found["llmpt_agent_blob_bytes",]) == (2, 30)
    assert (found["llmpt_agent_tracker_up",], found["llmpt_agent_uptime_seconds",]) == (1, 12.5)


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (421, {"Host": "evil.example.com"}),  # a name of a stranger's that leads to 127.0.0.1
        (403, {"Origin": "http://evil.example.com"}),
        (403, {"Referer": "http://evil.example.com/", "User_Agent": "Mozilla/5.0"}),
        (403, {"Sec_Fetch_Site": "cross-site"}),
        (200, {"Host": "localhost", "User_Agent": "Prometheus/3.0"}),
    ],
)
def test_no_web_page_reads_them(port: int, status: int, headers: dict[str, str]) -> None:
    assert ask(port, **headers)[0] == status


def test_a_browser_is_told_to_keep_it_from_pages(port: int) -> None:
    for method, path, status in (("GET", "/metrics", 200), ("GET", "/", 404), ("POST", "/metrics", 501)):
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
            connection.request(method, path)
            answer = connection.getresponse()
            answer.read()
            assert (answer.status, SAFE_HEADERS.items() - answer.headers.items()) == (status, set())


def test_there_is_nothing_else(port: int) -> None:
    assert ask(port, "/")[0] == 404


def test_a_client_that_trickles_holds_up_the_next_one_and_the_end_for_two_seconds() -> None:
    over = threading.Event()

    def trickle(port: int) -> None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)) as sock:
            sock.sendall(b"GET /metrics HTTP/1.0\r\nX-Slow: ")
            while not over.wait(0.2):
                sock.sendall(b"x")

    with metrics.served(0, lambda: STATUS) as port:
        slow = threading.Thread(target=trickle, args=(port,))
        slow.start()
        assert ask(port)[0] == 200
        last = threading.Thread(target=trickle, args=(port,))
        last.start()
        ended_at = time.monotonic()
    assert time.monotonic() - ended_at < 10, "or the agent does not end"
    over.set()
    slow.join()
    last.join()


def test_a_port_that_is_taken_is_an_error_at_once(port: int) -> None:
    with pytest.raises(OSError, match="in use"), metrics.served(port, lambda: STATUS):
        pass


def test_an_agent_that_is_not_asked_for_them_loads_none_of_it() -> None:
    program = "import sys, llmpt.agent.daemon as one; print({'http.server', 'llmpt.agent.metrics'} & sys.modules.keys())"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "set()\n"
