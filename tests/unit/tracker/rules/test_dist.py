"""`/dist/`: the wheels that this server hands out, and nothing else."""

from __future__ import annotations

import html
import re
import shlex
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
from flask import Flask

from llmpt.cli import group as llmpt_command
from llmpt_tracker.rules import dist
from llmpt_tracker.settings import folder
from tests.unit.tracker.conftest import Api, state_of
from tests.unit.tracker.wheels import stub

LIBTORRENT = "libtorrent-2.1.1-cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64.whl"


@pytest.fixture
def wheels(app: Flask, tmp_path: Path) -> Iterator[Path]:
    """The folder of a server that has a client to hand out."""
    there = tmp_path / "wheels"
    there.mkdir()
    stub(there, "llmpt", "0.1.0")
    (there / LIBTORRENT).write_bytes(b"0123456789")
    (there / "notes.txt").write_text("not for you")
    (there / ".llmpt-0.2.0-py3-none-any.whl").write_text("half written")
    before = state_of(app)
    app.extensions["llmpt"] = replace(before, settings=replace(before.settings, dist=there))
    yield there
    app.extensions["llmpt"] = before


def test_the_page_links_every_wheel_with_its_hash(api: Api, wheels: Path) -> None:
    text = api.get("/dist/").get_data(as_text=True)
    links = dict(re.findall(r'href="([^"#]+)#sha256=([0-9a-f]{64})"', text))
    assert links == {
        name: sha256((wheels / name).read_bytes()).hexdigest() for name in (LIBTORRENT, "llmpt-0.1.0-py3-none-any.whl")
    }


def fetch(api: Api, path: str, **headers: str) -> tuple[int, bytes, str]:
    """Return status, body and ETag."""
    with api.get(path, headers={name.replace("_", "-"): text for name, text in headers.items()}) as answer:
        return answer.status_code, answer.data, answer.headers.get("ETag", "")


def test_a_wheel_comes_as_it_is(api: Api, wheels: Path) -> None:
    with api.get(f"/dist/{LIBTORRENT}") as answer:
        assert (answer.status_code, answer.mimetype, answer.data) == (200, "application/octet-stream", b"0123456789")


def test_a_wheel_can_be_had_in_part_and_only_when_it_has_changed(api: Api, wheels: Path) -> None:
    status, part, etag = fetch(api, f"/dist/{LIBTORRENT}", Range="bytes=4-6")
    assert (status, part) == (206, b"456")
    assert fetch(api, f"/dist/{LIBTORRENT}", If_None_Match=etag)[0] == 304
    (wheels / LIBTORRENT).write_bytes(b"another build")
    assert fetch(api, f"/dist/{LIBTORRENT}", If_None_Match=etag)[1] == b"another build"


@pytest.mark.parametrize(
    "name",
    ["notes.txt", ".llmpt-0.2.0-py3-none-any.whl", "..%2ftracker.db", "%2e%2e/tracker.db", "../tracker.db", "llmpt.whl", "a%00b"],
)
def test_nothing_else_is_handed_out(api: Api, wheels: Path, name: str) -> None:
    (wheels.parent / "tracker.db").write_text("state")
    assert fetch(api, f"/dist/{name}")[0] == 404


def test_without_a_folder_there_is_nothing(api: Api) -> None:
    assert "LLMPT_DIST" in api.get("/dist/").get_data(as_text=True)
    assert api.get("/dist/llmpt-0.1.0-py3-none-any.whl").status_code == 404


def test_the_page_without_its_slash_leads_to_it(api: Api, wheels: Path) -> None:
    answer = api.get("/dist")
    assert (answer.status_code, answer.headers["Location"]) == (308, "/dist/")


def test_the_client_is_the_newest_wheel_of_llmpt(tmp_path: Path) -> None:
    for version in ("0.9.0", "0.10.0", "0.2.1"):
        stub(tmp_path, "llmpt", version)
    stub(tmp_path, "llmpt_extras", "9.0.0")
    found = dist.client(tmp_path)
    assert found is not None
    assert found.name == "llmpt-0.10.0-py3-none-any.whl"


def test_a_folder_that_is_not_there_is_told_at_the_start(tmp_path: Path) -> None:
    assert folder("") is None
    assert folder(str(tmp_path)) == tmp_path
    with pytest.raises(ValueError, match="make dist"):
        folder(str(tmp_path / "none"))


def lines_to_paste(api: Api) -> list[list[str]]:
    text = api.get("/", headers={"Host": "server:8000"}).get_data(as_text=True)
    block = re.findall(r"<pre[^>]*><code>(.*?)</code></pre>", text, re.DOTALL)[0]
    return [shlex.split(line) for line in html.unescape(block).splitlines()]


def test_the_front_page_says_how_to_install_from_this_server(api: Api, wheels: Path) -> None:
    install, join, _ = lines_to_paste(api)
    digest = sha256((wheels / "llmpt-0.1.0-py3-none-any.whl").read_bytes()).hexdigest()
    assert install == ["pip", "install", f"llmpt @ http://server:8000/dist/llmpt-0.1.0-py3-none-any.whl#sha256={digest}"]
    assert join == ["llmpt", "join", "http://server:8000"]


def test_without_a_client_to_hand_out_the_front_page_names_no_package_that_nobody_has(api: Api) -> None:
    install, join, _ = lines_to_paste(api)
    assert install == ["pip", "install", "."]
    assert join == ["llmpt", "join", "http://server:8000"]


def test_the_commands_on_the_front_page_exist(api: Api) -> None:
    assert {words[1] for words in lines_to_paste(api) if words[0] == "llmpt"} <= llmpt_command.commands.keys()
