"""Whatever is asked, in whatever spelling: no error of ours, and no byte that is not of the catalogue."""

from __future__ import annotations

import io
import json
from typing import Any
from urllib.parse import quote, unquote_to_bytes

from flask import Flask
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from werkzeug.test import run_wsgi_app

from tests.unit.tracker.bodies import COMMIT
from tests.unit.tracker.conftest import Api
from tests.unit.tracker.fakes import FakeAnnouncer, FakeBlobs
from tests.unit.tracker.hub_client import PART_COMMIT, SMALL_LFS, WHOLE, HubClient, publish_all

ETAGS = {line["etag"] for line in WHOLE}
POINTERS = (f"version https://git-lfs.github.com/spec/v1\noid sha256:{SMALL_LFS['etag']}\nsize 7\n".encode(), b"")
LONG = "a" * 10_000

WORDS = """api v1 models datasets spaces kernels org name part squad resolve raw revision tree paths-info refs commits auth-check
main pr 1 convert discussions whoami-v2 telemetry config.json model.safetensors small.bin data deep .. . %2e%2e %2F %5c %00 %ff
%C3 %ED%A0%80 %E2%80%AE %25 % %zz * : \\ C: etc passwd static dist blobs healthz torrents tracker.db"""

words = st.sampled_from([*WORDS.split(), ""])
odd = st.text(max_size=12).map(lambda text: quote(text, safe="", errors="surrogatepass"))
rough = st.binary(max_size=12).map(lambda data: data.decode("latin-1").replace("?", "").replace(" ", "").replace("\n", ""))
targets = st.lists(st.one_of(words, words, words, odd, rough), max_size=9).map(lambda parts: "/" + "/".join(parts))
shaped = st.builds(
    "{}/{}/{}{}{}".format,
    st.sampled_from(["", "/api/models", "/api/datasets", "/datasets"]),
    st.sampled_from(["org/name", "org/part", "squad", "org%2Fname", "..", "%00/x"]),
    st.sampled_from(["resolve/", "raw/", "tree/", "revision/", "paths-info/", "refs/", "commits/"]),
    st.sampled_from(["main/", COMMIT + "/", PART_COMMIT + "/", "refs%2Fpr%2F1/", "feature%2Fx/", "%2e%2e/", ""]),
    st.one_of(
        words, odd, st.sampled_from(["config.json", "empty.txt", "small.bin", "data", "data%2Fa.json", "..%2F..%2Fetc%2Fpasswd"])
    ),
)
queries = st.one_of(
    st.just(""),
    st.sampled_from(
        [
            "recursive=true",
            "limit=-1",
            "limit=99999999999999999999",
            "cursor=%00",
            "expand=1&expand=2",
            "blobs=True",
            "search=%25",
        ]
    ),
    st.text(max_size=20).map(lambda text: quote(text, safe="=&", errors="surrogatepass")),
)
headers = st.fixed_dictionaries(
    {},
    optional={
        "HTTP_RANGE": st.sampled_from(
            ["bytes=0-0", "bytes=-5", "bytes=5-", "bytes=99-1", "bytes=0-1,5-6", "bytes=" + "9" * 5000 + "-", "x", ""]
        ),
        "HTTP_USER_AGENT": st.sampled_from(["hf_hub/1.24.0", "hf_hub/2.4.0", "hf_hub/99999999999.1", "llmpt/x", "\xff"]),
        "HTTP_HOST": st.sampled_from(["server:8000", "[::1]:8000", "a b", "\xff", "x:99999", ""]),
        "HTTP_AUTHORIZATION": st.just("Bearer hf_secret"),
        "HTTP_IF_NONE_MATCH": st.just('"x"'),
        "HTTP_X_FORWARDED_FOR": st.just("6.6.6.6"),
        "CONTENT_TYPE": st.sampled_from(
            ["application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "\xff"]
        ),
    },
)
methods = st.sampled_from(["GET", "GET", "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "BREW"])
bodies = st.one_of(
    st.just(b""), st.binary(max_size=40), st.sampled_from([b'{"paths":["data","../x"]}', b"paths=data&paths=%00", b"[" * 5000])
)


def ask(app: Flask, method: str, target: str, query: str, more: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
    """Call the application as gunicorn does: the raw target beside a path that was unquoted as a whole."""
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "RAW_URI": target + (f"?{query}" if query else ""),
        "PATH_INFO": unquote_to_bytes(target.encode("latin-1")).decode("latin-1"),
        "QUERY_STRING": query,
        "SCRIPT_NAME": "",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8000",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": "server:8000",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        **more,
    }
    chunks, status, found = run_wsgi_app(app.wsgi_app, environ, buffered=True)
    return int(status.split()[0]), {name.lower(): text for name, text in found}, b"".join(chunks)


def check(method: str, status: int, found: dict[str, str], body: bytes) -> None:
    """Hold an answer against what may leave this house."""
    assert status < 500, body
    assert not [name for name in found if "xet" in name or name == "content-encoding"]
    if "/blobs/" in found.get("location", ""):
        assert status == 302
        assert found["location"].rpartition("/")[2] in ETAGS
    if found.get("content-type", "").startswith("application/json") and method != "HEAD":
        json.loads(body)
    if "x-repo-commit" in found and status in (200, 206):
        assert method == "HEAD" or any(body in pointer for pointer in POINTERS)


@settings(
    max_examples=300, derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(methods, st.one_of(targets, shaped), queries, headers, bodies)
@example("GET", f"/org/name/resolve/main/{LONG}", "", {}, b"")
@example("GET", f"/{LONG}/name/resolve/{LONG}/config.json", "", {}, b"")
@example("HEAD", f"/api/models/org/name/tree/{LONG}/{LONG}", "recursive=true", {}, b"")
@example("GET", "/api/models", f"search={LONG}&author={LONG}&filter={LONG}", {}, b"")
@example("GET", "/org/name/raw/main/small.bin", "", {"HTTP_RANGE": "bytes=" + "9" * 10_000 + "-"}, b"")
@example(
    "POST",
    "/api/models/org/name/paths-info/main",
    "",
    {"CONTENT_TYPE": "application/json"},
    b'{"paths":["' + b"a" * 10_000 + b'"]}',
)
@example("GET", "/org/name/resolve/main/" + "/".join(["a"] * 3000), "", {}, b"")
@example("GET", "/api/models/org/name/tree/main/" + "%F0%90%80%80" * 900, "", {}, b"")
def test_no_request_is_an_error_of_ours_or_gets_what_was_not_published(
    app: Flask,
    api: Api,
    blobs: FakeBlobs,
    announcer: FakeAnnouncer,
    method: str,
    target: str,
    query: str,
    more: dict[str, str],
    body: bytes,
) -> None:
    if not blobs.held:
        client = HubClient(app, blobs, announcer)
        publish_all(api, client)
        client.all_are_here()
    check(method, *ask(app, method, target, query, more, body))
