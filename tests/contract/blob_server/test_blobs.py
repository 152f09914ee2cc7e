"""What the blob server serves, and what it does not."""

from __future__ import annotations

import json
import logging
import os

import pytest

from llmpt.core.errors import SettingError
from llmpt.core.networks import CidrSet
from llmpt.core.rates import RateLimit
from llmpt_seeder.blobs import BlobServer, Doors
from tests.contract.blob_server.world import CONTENT, ETAG, Serve, Shelf, ask, connect, read_to_end


def test_a_blob_is_served_whole_and_in_parts(serve: Serve) -> None:
    server = serve()
    answer, body = ask(server)
    assert (answer.status, body == CONTENT) == (200, True)
    assert (answer.getheader("ETag"), answer.getheader("Accept-Ranges")) == (f'"{ETAG}"', "bytes")
    answer, body = ask(server, Range="bytes=1000000-2000000")
    assert (answer.status, body) == (206, CONTENT[1_000_000:2_000_001])
    assert answer.getheader("Content-Range") == f"bytes 1000000-2000000/{len(CONTENT)}"
    assert ask(server, Range=f"bytes={len(CONTENT)}-")[0].status == 416


def test_a_request_with_an_id_is_a_line_and_its_answer_has_it(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="llmpt.seeder")
    server = serve()
    assert ask(server, X_Request_Id="b126f")[0].getheader("X-Request-Id") == "b126f"
    for none in ("a b", "x" * 65):
        assert ask(server, X_Request_Id=none)[0].getheader("X-Request-Id") is None
    assert ask(server)[0].getheader("X-Request-Id") is None
    said = [record.getMessage() for record in caplog.records if ETAG.value in record.getMessage()]
    assert said == [f"GET /blobs/{ETAG} for 127.0.0.1: 200"]


def test_a_head_has_the_length_and_no_bytes(serve: Serve) -> None:
    answer, body = ask(serve(), method="HEAD")
    assert (answer.status, answer.getheader("Content-Length"), body) == (200, str(len(CONTENT)), b"")


def test_nothing_is_compressed_whatever_the_client_accepts(serve: Serve) -> None:
    answer, body = ask(serve(), Accept_Encoding="gzip, br")
    assert (answer.getheader("Content-Encoding"), body == CONTENT) == (None, True)


def test_an_empty_blob_is_served(serve: Serve, shelf: Shelf) -> None:
    answer, body = ask(serve(), f"/blobs/{shelf.put(b'').etag}")
    assert (answer.status, answer.getheader("Content-Length"), body) == (200, "0", b"")


@pytest.mark.parametrize(
    "path",
    ["/", "/blobs", "/blobs/", f"/blobs/{'0' * 64}", f"/blobs/../{ETAG}", f"/blobs/{ETAG}/", f"//blobs/{ETAG}", "/blobs/%2e%2e",
     f"/blobs/{str(ETAG).upper()}", "/etc/passwd", "/blobs/" + "x" * 10_000],
    ids=lambda path: path[:20],
)  # fmt: skip
def test_there_is_nothing_but_blobs(serve: Serve, path: str) -> None:
    answer, body = ask(serve(), path)
    assert (answer.status, json.loads(body)["error"]["code"]) == (404, "not_found")


def test_methods_that_make_no_sense_are_refused(serve: Serve) -> None:
    server = serve()
    assert ask(server, method="POST")[0].status == 405
    assert ask(server, method="DELETE")[0].status == 405
    assert ask(server, "/knock")[0].status == 405


def test_a_blob_whose_file_is_gone_is_not_there(serve: Serve, shelf: Shelf) -> None:
    shelf.files[ETAG].path.unlink()
    assert ask(serve())[0].status == 404


def test_a_file_that_was_written_to_is_never_sent_under_its_old_name(serve: Serve, shelf: Shelf) -> None:
    blob = shelf.files[ETAG]
    with blob.path.open("r+b") as file:
        file.write(b"changed")
    os.utime(blob.path, ns=(1, blob.stamp.mtime_ns + 1))
    assert ask(serve())[0].status == 404


def test_a_file_that_is_written_to_while_it_is_sent_is_cut_off(serve: Serve, shelf: Shelf) -> None:
    content = os.urandom(8 << 20)
    blob = shelf.put(content)
    server = serve(upload_limit=RateLimit.parse("4M"))
    with connect(server) as client:
        client.sendall(f"GET /blobs/{blob.etag} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert client.recv(1000).startswith(b"HTTP/1.1 200 OK")
        os.utime(blob.path, ns=(1, 1))
        with pytest.raises(ConnectionResetError):
            read_to_end(client)


def test_who_is_outside_the_lan_is_told_which_setting_says_so(serve: Serve) -> None:
    answer, body = ask(serve(allowed="10.0.0.0/8"))
    assert answer.status == 403
    assert "LLMPT_PEER_CIDRS" in json.loads(body)["error"]["message"]


def test_a_port_that_is_taken_is_named(serve: Serve) -> None:
    with pytest.raises(SettingError, match="LLMPT_BLOB_PORT"):
        BlobServer([], Doors(("127.0.0.1",), serve().port, CidrSet.parse("")))
