"""Paths that are not UTF-8, and programs whose locale reads paths in another way than the agent does."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.lan import BIG, Lan
from tests.support.waiting import eventually

BYTES = b"h\xff\xe9"  # no UTF-8
# The C locale is one that Python takes for what it says: each byte above 127 is a lone surrogate to it.
LOCALES = {"utf-8": {"PYTHONUTF8": "1"}, "ascii": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}}
DOWNLOAD = """
import os, sys
from huggingface_hub import snapshot_download
print(sys.getfilesystemencoding(), os.fsencode(snapshot_download("{repo}")).hex())
"""


@pytest.fixture(scope="module")
def shared_lan(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lan]:
    """A LAN whose server keeps its state and its cache in such a folder, too."""
    with Lan(_of_bytes(tmp_path_factory.mktemp("lan"))) as running:
        yield running


@pytest.fixture(scope="module")
def latin1(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A locale in which each byte is a character of its own; few systems have one made."""
    folder = tmp_path_factory.mktemp("locales")
    make = shutil.which("localedef")
    if make is None:
        pytest.skip("no localedef here")
    subprocess.run([make, "-i", "en_US", "-f", "ISO-8859-1", folder / "en_US.ISO-8859-1"], capture_output=True, check=False)
    if not any(folder.iterdir()):
        pytest.skip("no sources of locales here")
    return {"LOCPATH": str(folder), "LC_ALL": "en_US.ISO-8859-1", "PYTHONUTF8": "0"}


@pytest.fixture(params=["utf-8", "ascii", "iso8859-1"])
def encoding(request: pytest.FixtureRequest) -> str:
    """What Python reads paths as."""
    return str(request.param)


@pytest.fixture
def locale(request: pytest.FixtureRequest, encoding: str) -> dict[str, str]:
    found: dict[str, str] = request.getfixturevalue("latin1") if encoding == "iso8859-1" else LOCALES[encoding]
    return found


def test_a_cache_of_bytes_is_filled_and_seeded(lan: Lan, repo: str, encoding: str, locale: dict[str, str]) -> None:
    contents = {f"model-{n}.bin": os.urandom(BIG + n) for n in range(2)}
    lan.hub.add(repo, contents)
    lan.mirror(repo)
    lan.seeded(repo)
    with lan.machine("odd") as odd:
        home = _of_bytes(odd.root)
        odd.environ |= {**locale, "HF_HOME": str(home)}
        found, folder = odd.script(DOWNLOAD.format(repo=repo)).split()
        snapshot = Path(os.fsdecode(bytes.fromhex(folder)))
        assert found == encoding
        assert snapshot.is_relative_to(home)
        assert {path: (snapshot / path).read_bytes() for path in contents} == contents
        assert lan.hub.byte_gets == 0

        def seeded_from() -> set[str]:
            return {row["path"] for row in odd.status()["seeding"]}

        blobs = {str((snapshot / path).resolve()) for path in contents}
        assert eventually(lambda: seeded_from() == blobs and blobs, what="what was downloaded to be seeded") == blobs
        odd.stop_agent()
        odd.llmpt("agent", "start")
        eventually(lambda: seeded_from() == blobs, what="the same after a restart")
        for command in (("status",), ("seed", repo)):
            odd.llmpt(*command)
        assert "Traceback" not in odd.agent_log()


def test_a_server_of_another_locale_publishes_the_names_that_the_hub_has(tmp_path: Path, latin1: dict[str, str]) -> None:
    with Lan(tmp_path / "lan", upstream=False, **latin1) as lan:
        lan.hub.add("org/names", {"model-é.bin": os.urandom(BIG)})
        lan.mirror("org/names")
        [torrent] = lan.seeded("org/names")
        assert [at.path for at in torrent.appears_in] == ["model-é.bin"]


def _of_bytes(folder: Path) -> Path:
    return Path(os.fsdecode(os.fsencode(folder) + b"/" + BYTES))
